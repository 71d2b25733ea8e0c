"""Archives are read, not trusted."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from cdfss_bench.datasets.prepare import sources
from cdfss_bench.datasets.prepare.matfile import MatError, segmentation
from cdfss_bench.datasets.prepare.sources import Source
from cdfss_bench.errors import DataError

from ...support import downloads, trees

FILES = {"a/one.png": b"1" * 100, "b/two words.png": b"22", "b/ü.png": b"3"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz", "x.tar.gz", "no suffix", "folder"])
def test_every_kind_of_download_gives_the_same_files(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    if name == "folder":
        downloads.unpacked(FILES, place)
    elif name == "x.zip":
        downloads.zipped(FILES, place)
    else:
        downloads.tarred(FILES, place)
    with Source([place]) as source:
        assert {entry.path: entry.read() for entry in source.entries} == FILES
        assert [entry.path for entry in source.entries] == sorted(FILES)


@pytest.mark.parametrize("suffix", ["xz", "bz2"])
def test_other_compressions_are_read_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.tar.{suffix}"
    with tarfile.open(path, f"w:{suffix}") as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo("a.png")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    with Source([path]) as source:
        assert [entry.read() for entry in source.entries] == [b"abc"]


def test_archives_in_a_folder_are_opened_and_repeats_named(tmp_path: Path) -> None:
    downloads.unpacked({"a/one.png": b"1" * 100, "a/own.png": b"x"}, tmp_path)
    downloads.zipped(FILES, tmp_path / "sub" / "x.zip")
    with Source([tmp_path]) as source:
        assert {entry.path for entry in source.entries} == {*FILES, "a/own.png"}
        (first,) = [entry for entry in source.entries if entry.path == "a/one.png"]
        assert first.local == tmp_path / "a/one.png"
        assert list(source.remarks) == ["1 files are there twice (packed and unpacked)"]


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\e.png", "C:/e"]
)
@pytest.mark.parametrize("pack", [downloads.zipped, downloads.tarred])
def test_a_path_that_leaves_the_archive_is_refused(
    tmp_path: Path, name: str, pack: downloads.Packer
) -> None:
    path = pack(
        {"a.png": b"1", name: b"2"}, tmp_path / ("x" if "tar" in pack.__name__ else "x.zip")
    )
    with pytest.raises(DataError, match="holds a path that leaves its folder"), Source([path]):
        pass


def test_links_in_archives_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "s"), (tarfile.LNKTYPE, "h"), (tarfile.CHRTYPE, "c")):
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    info = zipfile.ZipInfo("z.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with Source([tmp_path]) as source:
        assert source.entries == []
        assert len(source.remarks) == 4


def test_a_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILE", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(100_000))
    with (
        Source([tmp_path / "x.zip"]) as source,
        pytest.raises(DataError, match="100000 bytes: that is no picture of ours"),
    ):
        source.entries[0].read()


def test_a_file_that_says_it_is_small_is_not_unpacked_beyond_that(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(100_000))
    data = path.read_bytes().replace(struct.pack("<I", 100_000), struct.pack("<I", 10))
    path.write_bytes(data)
    with Source([path]) as source, pytest.raises(DataError, match=r"cannot be read|instead of"):
        source.entries[0].read()


def test_a_tar_that_grows_beyond_all_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_UNPACKED", 100_000)
    path = downloads.tarred({"a.png": bytes(1_000_000)}, tmp_path / "x.tgz")
    with pytest.raises(DataError, match="grows beyond all bounds"), Source([path]):
        pass


def test_a_crowd_of_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_ENTRIES", 2)
    for path in (
        downloads.zipped({f"{n}": b"" for n in range(4)}, tmp_path / "x.zip"),
        downloads.tarred({f"{n}": b"" for n in range(4)}, tmp_path / "x.tar"),
    ):
        with pytest.raises(DataError, match="lists more than 2 files"), Source([path]):
            pass


@pytest.mark.parametrize("pack", ["x.zip", "x.tar", "x.tgz"])
def test_half_an_archive_is_one_sentence(tmp_path: Path, pack: str) -> None:
    make = downloads.zipped if pack == "x.zip" else downloads.tarred
    path = make({f"{n}.png": bytes([n]) * 20_000 for n in range(9)}, tmp_path / pack)
    path.write_bytes(path.read_bytes()[:-12_000] if pack != "x.tgz" else path.read_bytes()[:-40])
    with pytest.raises(DataError) as caught, Source([path]) as source:  # noqa: PT012
        for entry in source.entries:
            entry.read()
    assert str(path) in caught.value.problem


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    path = downloads.zipped({"a.png": b"hello world" * 50}, tmp_path / "x.zip")
    path.write_bytes(path.read_bytes().replace(b"hello", b"HELLO", 1))
    with Source([path]) as source, pytest.raises(DataError, match=r"x\.zip: a\.png cannot be read"):
        source.entries[0].read()


def test_no_archive_at_all_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(DataError, match="is not a whole archive"), Source([tmp_path / "x.zip"]):
        pass
    with pytest.raises(DataError, match="does not exist"), Source([tmp_path / "absent.zip"]):
        pass


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    downloads.unpacked(FILES, tmp_path)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "dangling.png").symlink_to(tmp_path / "nowhere")
    with Source([tmp_path]) as source:
        assert {entry.path for entry in source.entries} == set(FILES)
        assert len(source.remarks) == 1


# -- SBD's MATLAB files ----------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_an_sbd_file_gives_its_label_map(compressed: bool) -> None:
    labels = trees.label_map((3, 20))
    assert (segmentation(downloads.mat(labels, compressed=compressed)) == labels).all()


CUT = downloads.mat(trees.label_map((3,)), compressed=True)[:150]


@pytest.mark.parametrize("data", [b"", b"x" * 200, CUT])
def test_what_is_no_sbd_file_is_refused(data: bytes) -> None:
    with pytest.raises(MatError):
        segmentation(data)


def test_every_cut_of_an_sbd_file_is_refused_or_complete() -> None:
    whole = downloads.mat(trees.label_map((3,), 12, 12), compressed=False)
    for length in range(128, len(whole), 7):
        try:
            assert segmentation(whole[:length]).shape == (12, 12)
        except MatError:
            continue


@pytest.mark.parametrize("value", [0, 8, 255])
def test_every_changed_byte_of_an_sbd_file_is_refused_or_gives_an_array(value: int) -> None:
    whole = downloads.mat(trees.label_map((3,), 12, 12), compressed=False)
    for place in range(124, len(whole)):
        try:
            assert segmentation(whole[:place] + bytes([value]) + whole[place + 1 :]).ndim == 2
        except MatError:
            continue
