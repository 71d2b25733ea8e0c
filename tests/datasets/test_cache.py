"""Decoded pictures on disk: never decoded twice, never believed when damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.cache import (
    DecodeCache,
    Pixels,
    decoder_versions,
    default_folder,
    picture_key,
)

from . import trees

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


def test_another_process_finds_what_was_made(cache: DecodeCache) -> None:
    make = Maker(8, 8)
    cache.get(KEY, make)
    assert same(DecodeCache(cache.folder).get(KEY, make), make.pixels)
    assert make.calls == 1


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
def test_a_damaged_entry_is_made_again_and_mended(cache: DecodeCache, damage: str) -> None:
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


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    trees.save(path, trees.photo(1))
    return path


def test_an_untouched_file_keeps_its_key(picture: Path) -> None:
    assert file_key(picture, kind="image", side=400) == file_key(picture, kind="image", side=400)


def test_a_relative_path_has_the_key_of_the_absolute_one(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture.parent)
    relative = file_key(Path("picture.png"), kind="image", side=400)
    assert relative == file_key(picture, kind="image", side=400)


def test_another_size_is_another_key(picture: Path) -> None:
    before, times = file_key(picture, kind="image", side=400), picture.stat()
    with picture.open("ab") as file:
        file.write(b"\0")
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_key(picture, kind="image", side=400) != before


def test_another_time_is_another_key(picture: Path) -> None:
    before, times = file_key(picture, kind="image", side=400), picture.stat()
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000))
    assert file_key(picture, kind="image", side=400) != before


def test_another_path_kind_or_side_is_another_key(picture: Path) -> None:
    other = picture.with_name("other.png")
    os.link(picture, other)
    keys = {
        file_key(picture, kind="image", side=400),
        file_key(other, kind="image", side=400),
        file_key(picture, kind="binary", side=400),
        file_key(picture, kind="image", side=128),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("name", ["pillow", "libjpeg_turbo", "zlib"])
def test_another_decoder_is_another_key(
    picture: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = file_key(picture, kind="image", side=400)
    versions = {**decoder_versions(), name: "0.0.1"}
    monkeypatch.setattr("cdfss_bench.datasets.cache.decoder_versions", lambda: versions)
    assert file_key(picture, kind="image", side=400) != before


def test_a_missing_file_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_key(tmp_path / "absent", kind="image", side=400)


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
    command = [sys.executable, "-c", FILLER, str(tmp_path), str(cache)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    answers = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert answers[0] == answers[1]
    assert answers[0].endswith(" None\n")
    entries = [path for path in cache.rglob("*") if path.is_file()]
    assert len(entries) == 2 * 6 * len(trees.SCENES)
    assert {path.suffix for path in entries} == {".px"}
