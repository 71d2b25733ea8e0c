"""Decoded pictures on disk: never decoded twice, never believed when damaged."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.core.decode_cache import (
    DecodeCache,
    Pixels,
    decoder_versions,
    default_folder,
    picture_key,
)
from cdfss_bench.errors import DataError

from ...support import trees
from ...support.program import side_by_side

KEY = "ab" + "0" * 62


class Maker:
    """Makes a picture and counts how often it was asked to."""

    def __init__(self, *shape: int, native: tuple[int, int] = (640, 480)):
        self.pixels = Pixels(np.random.default_rng(0).integers(0, 256, shape, np.uint8), native)
        self.calls = 0

    def __call__(self) -> Pixels:
        self.calls += 1
        return self.pixels


def same(first: Pixels, second: Pixels) -> bool:
    return first.native == second.native and np.array_equal(first.array, second.array)


@pytest.fixture
def cache(tmp_path: Path) -> DecodeCache:
    return DecodeCache(tmp_path / "cache")


def entry_of(cache: DecodeCache, key: str = KEY) -> Path:
    assert cache.folder is not None
    return cache.folder / "decoded" / key[:2] / f"{key}.px"


@pytest.mark.parametrize("shape", [(40, 40, 3), (40, 40)])
def test_the_second_read_makes_nothing(cache: DecodeCache, shape: tuple[int, ...]) -> None:
    make = Maker(*shape)
    for _ in range(3):
        assert same(cache.get(KEY, make), make.pixels)
    assert make.calls == 1
    assert cache.trouble is None


def test_a_kept_picture_is_a_read_only_map_of_its_file(cache: DecodeCache) -> None:
    make = Maker(8, 8, 3)
    cache.get(KEY, make)
    kept = cache.get(KEY, make).array
    assert isinstance(kept, np.memmap)
    assert not kept.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0, 0] = 1


def test_a_picture_that_lies_in_memory_in_another_order_is_kept(cache: DecodeCache) -> None:
    make = Maker(8, 12, 3)
    turned = Pixels(make.pixels.array.transpose(1, 0, 2), (1, 2))
    cache.get(KEY, lambda: turned)
    assert same(cache.get(KEY, make), turned)
    assert make.calls == 0


def test_without_a_folder_every_read_makes_the_picture() -> None:
    make, cache = Maker(8, 8), DecodeCache(None)
    for _ in range(3):
        assert cache.get(KEY, make) is make.pixels
    assert make.calls == 3


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut inside the header": lambda raw: raw[:20],
    "cut after the header": lambda raw: raw[:64],
    "cut by one byte": lambda raw: raw[:-1],
    "one byte too many": lambda raw: raw + b"\0",
    "of another program": lambda raw: b"\x89PNG\r\n\x1a\n" + raw[8:],
    "text": lambda _: b"this is not a picture at all, but a longer text " * 3,
    "zeros": lambda raw: bytes(len(raw)),
    "header of an older version": lambda raw: b"CDFSSPX1" + raw[8:],
    "last pixel flipped": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "first pixel flipped": lambda raw: raw[:64] + bytes([raw[64] ^ 128]) + raw[65:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_again_and_corrected(cache: DecodeCache, damage: str) -> None:
    make = Maker(8, 8, 3)
    cache.get(KEY, make)
    path = entry_of(cache)
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert same(cache.get(KEY, make), make.pixels)
    assert make.calls == 2
    assert path.read_bytes() == whole
    assert same(cache.get(KEY, make), make.pixels)
    assert make.calls == 2


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8)])
def test_no_byte_of_the_header_may_change(cache: DecodeCache, shape: tuple[int, ...]) -> None:
    make = Maker(*shape)
    cache.get(KEY, make)
    path = entry_of(cache)
    whole = path.read_bytes()
    for place in range(36):
        make.calls = 0
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert same(cache.get(KEY, make), make.pixels)
        assert make.calls == 1, f"byte {place} of the header was believed"


@pytest.fixture
def blocked(tmp_path: Path) -> DecodeCache:
    """A cache whose folder cannot be made, because a file has its name."""
    (tmp_path / "file").touch()
    return DecodeCache(tmp_path / "file")


def test_a_cache_that_cannot_be_written_costs_time_not_results(blocked: DecodeCache) -> None:
    make = Maker(8, 8)
    for _ in range(3):
        assert same(blocked.get(KEY, make), make.pixels)
    assert make.calls == 3
    assert blocked.trouble == f"the decode cache {blocked.folder} is not written: Not a directory"


def test_a_full_disk_leaves_no_part_of_an_entry(
    cache: DecodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    make = Maker(8, 8)
    monkeypatch.setattr(Path, "replace", full)
    assert same(cache.get(KEY, make), make.pixels)
    assert cache.trouble == (
        f"the decode cache {cache.folder} is not written: No space left on device"
    )
    assert list(entry_of(cache).parent.iterdir()) == []
    monkeypatch.undo()
    cache.get("cd" + KEY[2:], make)
    assert not entry_of(cache, "cd" + KEY[2:]).exists()


def test_what_was_kept_before_the_disk_filled_is_still_read(cache: DecodeCache) -> None:
    make = Maker(8, 8)
    cache.get(KEY, make)
    cache.trouble = "the disk is full"
    cache.get(KEY, make)
    assert make.calls == 1


# -- keys ----------------------------------------------------------------------------------------


CONTENT = "c" * 64


def key(content: str = CONTENT, kind: str = "image", side: int = 400) -> str:
    return picture_key(content, kind=kind, side=side)


def test_another_content_kind_or_side_is_another_key() -> None:
    assert len({key(), key(content="d" * 64), key(kind="binary"), key(side=128)}) == 4


@pytest.mark.parametrize("name", ["pillow", "libjpeg_turbo", "zlib"])
def test_another_decoder_is_another_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = key()
    versions = {**decoder_versions(), name: "0.0.1"}
    monkeypatch.setattr("cdfss_bench.datasets.core.decode_cache.decoder_versions", lambda: versions)
    assert key() != before


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CDFSS_CACHE": "/own/cache"}, "/own/cache"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/cdfss-bench"),
        ({"HOME": "/home/me"}, "/home/me/.cache/cdfss-bench"),
        ({"CDFSS_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/x"}, "/x/.cache/cdfss-bench"),
    ],
)
def test_the_environment_says_where_the_cache_lies(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("CDFSS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)


# -- through a domain ----------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The file names that were opened as pictures, in order."""
    names: list[str] = []
    really_open = Image.open

    def counted(path: Path) -> Image.Image:
        names.append(path.name)
        return really_open(path)

    monkeypatch.setattr(Image, "open", counted)
    return names


def read_all(domain: Domain) -> Iterator[bytes]:
    for entry in domain.classes:
        for item in entry.items:
            yield domain.image(item).tobytes()
            yield domain.truth(item).tobytes()


@pytest.mark.parametrize("name", ["isic", "pascal"])
def test_a_second_run_decodes_nothing(tmp_path: Path, decoded: list[str], name: str) -> None:
    trees.WRITERS[name](tmp_path)
    first = list(read_all(open_domain(name, tmp_path, cache=tmp_path / "cache")))
    assert len(decoded) == len(set(decoded)) > 0
    decoded.clear()
    assert list(read_all(open_domain(name, tmp_path, cache=tmp_path / "cache"))) == first
    assert decoded == []
    assert list(read_all(open_domain(name, tmp_path, cache=None))) == first


def test_only_a_changed_file_is_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    trees.write_isic(tmp_path)
    before = list(read_all(open_domain("isic", tmp_path, cache=tmp_path / "cache")))
    path = tmp_path / trees.ISIC_IMAGES / "1" / "ISIC_0000001.jpg"
    trees.save(path, trees.photo(77))
    times = path.stat()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 5_000_000_000))
    decoded.clear()
    after = list(read_all(open_domain("isic", tmp_path, cache=tmp_path / "cache")))
    assert decoded == ["ISIC_0000001.jpg"]
    assert [
        place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]
    ] == [0]


@pytest.mark.parametrize("name", ["isic", "folder", "pascal"])
def test_replaced_pixels_of_the_same_size_and_time_are_decoded(tmp_path: Path, name: str) -> None:
    {**trees.WRITERS, "folder": trees.write_folder}[name](tmp_path)
    domain = open_domain(name, tmp_path, cache=tmp_path / "cache")
    item, times = domain.classes[0].items[0], (10**18, 10**18)
    os.utime(tmp_path / item.image, ns=times)
    before, size = domain.image(item), (tmp_path / item.image).stat().st_size
    trees.save(tmp_path / item.image, trees.photo(77))
    with (tmp_path / item.image).open("ab") as file:
        file.write(bytes(max(0, size - file.tell())))
        file.truncate(size)
    os.utime(tmp_path / item.image, ns=times)
    after = open_domain(name, tmp_path, cache=tmp_path / "cache").image(item)
    assert not np.array_equal(after, before)
    assert np.array_equal(after, open_domain(name, tmp_path, cache=None).image(item))


def test_a_tree_that_was_moved_finds_its_entries(tmp_path: Path, decoded: list[str]) -> None:
    trees.write_isic(tmp_path / "a")
    first = list(read_all(open_domain("isic", tmp_path / "a", cache=tmp_path / "cache")))
    (tmp_path / "a").rename(tmp_path / "b")
    decoded.clear()
    assert list(read_all(open_domain("isic", tmp_path / "b", cache=tmp_path / "cache"))) == first
    assert decoded == []


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("place", ["image", "mask"])
def test_a_file_that_changed_after_the_fingerprint_is_refused(
    tmp_path: Path, place: str, *, cached: bool
) -> None:
    trees.write_isic(tmp_path)
    domain = open_domain("isic", tmp_path, cache=tmp_path / "cache" if cached else None)
    episode = domain.episodes(1, length=1)[0]
    domain.load(episode)
    path = tmp_path / getattr(domain.item(episode.class_id, episode.query), place)
    content = path.read_bytes()
    path.write_bytes(content)
    domain.load(episode)  # written again with the same bytes: nothing changed
    trees.save(path, trees.photo(77) if place == "image" else trees.blob(5))
    with pytest.raises(DataError) as caught:
        domain.load(episode)
    assert caught.value.problem == f"{path} changed while it was in use"
    assert caught.value.hint is not None


def test_pixels_of_a_file_that_changes_while_it_is_decoded_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write_isic(tmp_path)
    domain = open_domain("isic", tmp_path, cache=tmp_path / "cache")
    item, _ = domain.classes[0].items[0], domain.fingerprint
    path = tmp_path / item.image
    original = path.read_bytes()
    really_open = Image.open

    def late(name: Path) -> Image.Image:
        trees.save(path, trees.photo(77))
        return really_open(name)

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", late)
        with pytest.raises(DataError, match="changed while it was in use"):
            domain.image(item)
    path.write_bytes(original)
    expected = open_domain("isic", tmp_path, cache=None).image(item)
    assert np.array_equal(domain.image(item), expected)


def test_a_label_map_and_a_mask_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    domain = open_domain("pascal", tmp_path, cache=tmp_path / "cache")
    item = domain.classes[0].items[0]
    labels = domain.read_labels(item).array
    assert set(np.unique(labels)) == {0, 1, 15, 255}
    binary = type(item)(item.name, item.image, item.mask)
    assert set(np.unique(domain.read_labels(binary).array)) <= {0, 1}
    assert np.array_equal(domain.read_labels(item).array, labels)


FILLER = """
import hashlib, sys
from cdfss_bench.datasets import open_domain
domain = open_domain("deepglobe", sys.argv[1], cache=sys.argv[2])
items = [item for entry in domain.classes for item in entry.items]
print("ready", flush=True)
sys.stdin.readline()
total = hashlib.sha256()
for item in items:
    total.update(domain.image(item).tobytes() + domain.truth(item).tobytes())
print(total.hexdigest(), domain.cache.trouble)
"""


def test_two_processes_may_fill_the_cache_at_once(tmp_path: Path) -> None:
    trees.write_deepglobe(tmp_path)
    cache = tmp_path / "cache"
    answers = side_by_side(FILLER, tmp_path, cache)
    assert answers[0] == answers[1]
    assert answers[0].endswith(" None\n")
    entries = [path for path in (cache / "decoded").rglob("*") if path.is_file()]
    # A tile lies in six class folders: one picture, six masks.
    assert len(entries) == (1 + 6) * len(trees.SCENES)
    assert {path.suffix for path in entries} == {".px"}
