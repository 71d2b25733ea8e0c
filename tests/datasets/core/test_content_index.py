"""Hashes of files and their index: nothing is hashed twice, no hash outlives its file."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdfss_bench.canonical import file_sha256
from cdfss_bench.datasets import open_domain
from cdfss_bench.datasets.core import content_index as contents
from cdfss_bench.datasets.core.content_index import Contents, FileChangedError
from cdfss_bench.errors import DataError
from cdfss_bench.progress import show_progress_with

from ...support import trees
from ...support.program import side_by_side


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five files of four bytes, with names that make trouble."""
    folder = tmp_path / "root"
    for name in ("a.png", "b.png", "sub/a.png", "with space.png", "é.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{len(str(path)):04d}".encode())
    return folder


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now count as old."""
    monkeypatch.setattr(contents, "_RACY", -1)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were hashed."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(contents, "file_sha256", counted)
    return names


def names_in(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))


def look(root: Path, cache: Path | None, *, again: bool = False) -> dict[str, str]:
    """What a new process would find."""
    return Contents(root, cache).all(names_in(root), "files", again=again)


def index_of(cache: Path) -> Path:
    (path,) = (cache / "contents").iterdir()
    return path


def rewrite(path: Path, data: bytes = b"new!") -> None:
    """Other bytes of the same size under the old modification time, as `rsync -t` leaves them."""
    times = path.stat()
    assert times.st_size == len(data)
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_the_hashes_are_those_of_the_bytes(root: Path) -> None:
    expected = {name: file_sha256(root / name) for name in names_in(root)}
    assert look(root, None) == expected


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("modified", ["now", "in the future"])
def test_a_second_process_hashes_nothing(
    root: Path, tmp_path: Path, hashed: list[str], modified: str
) -> None:
    for name in names_in(root) if modified != "now" else ():
        os.utime(root / name, (4e9, 4e9))
    first = look(root, tmp_path / "cache")
    assert len(hashed) == 5
    hashed.clear()
    assert look(root, tmp_path / "cache") == first
    other = Contents(root, tmp_path / "cache")
    assert [other.sha256(name) for name in names_in(root)] == list(first.values())
    assert hashed == []


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("name", [*trees.WRITERS, "folder", "coco"])
def test_a_second_fingerprint_and_warm_pictures_hash_nothing(
    tmp_path: Path, hashed: list[str], name: str
) -> None:
    writers = {**trees.WRITERS, "folder": trees.write_folder, "coco": trees.write_coco}
    writers[name](tmp_path)
    once = open_domain(name, tmp_path, cache=tmp_path / "cache")
    episode = once.episodes(1, length=1)[0]
    once.load(episode)
    assert hashed
    hashed.clear()
    twice = open_domain(name, tmp_path, cache=tmp_path / "cache")
    assert twice.fingerprint == once.fingerprint
    twice.load(episode)
    assert hashed == []


@pytest.mark.usefixtures("settled")
def test_only_what_changed_is_hashed_again(root: Path, tmp_path: Path, hashed: list[str]) -> None:
    first = look(root, tmp_path / "cache")
    rewrite(root / "b.png")
    (root / "c.png").write_bytes(b"more")
    hashed.clear()
    second = look(root, tmp_path / "cache")
    assert sorted(hashed) == ["b.png", "c.png"]
    assert {name for name in second if second[name] != first.get(name)} == {"b.png", "c.png"}
    hashed.clear()
    assert look(root, tmp_path / "cache") == second
    assert hashed == []


def rewritten_aside(path: Path) -> Path:
    """A rewritten copy in another folder."""
    aside = path.parent.parent / "aside.png"
    shutil.copy2(path, aside)
    rewrite(aside)
    return aside


def by_rename(path: Path) -> None:
    rewritten_aside(path).replace(path)


def by_a_link_elsewhere(path: Path) -> None:
    aside = rewritten_aside(path)
    path.unlink()
    path.symlink_to(aside)


def by_a_hard_link_elsewhere(path: Path) -> None:
    aside = rewritten_aside(path)
    path.unlink()
    os.link(aside, path)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "replaced", [rewrite, by_rename, by_a_link_elsewhere, by_a_hard_link_elsewhere]
)
def test_other_bytes_of_the_same_size_and_time_are_seen(
    root: Path, tmp_path: Path, replaced: Callable[[Path], None]
) -> None:
    before, times = look(root, tmp_path / "cache")["a.png"], (root / "a.png").stat()
    replaced(root / "a.png")
    after = (root / "a.png").stat()
    assert (after.st_size, after.st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert look(root, tmp_path / "cache")["a.png"] == file_sha256(root / "a.png") != before


@pytest.mark.usefixtures("settled")
def test_a_linked_tree_that_points_elsewhere_is_another_tree(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "other")
    rewrite(tmp_path / "other" / "a.png")
    link = tmp_path / "link"
    link.symlink_to(root)
    before = look(link, tmp_path / "cache")
    assert look(root, tmp_path / "cache") == before
    link.unlink()
    link.symlink_to(tmp_path / "other")
    assert look(link, tmp_path / "cache")["a.png"] != before["a.png"]
    assert len(list((tmp_path / "cache" / "contents").iterdir())) == 2


@pytest.mark.usefixtures("settled")
def test_a_restored_tree_is_hashed_again(root: Path, tmp_path: Path, hashed: list[str]) -> None:
    """As an index that came from another machine, where the same files have other inodes."""
    first = look(root, tmp_path / "cache")
    shutil.copytree(root, tmp_path / "copy")
    root.rename(tmp_path / "away")
    (tmp_path / "copy").rename(root)
    hashed.clear()
    assert look(root, tmp_path / "cache") == first
    assert len(hashed) == 5


# -- files that were written a moment ago --------------------------------------------------------


def test_a_file_written_just_before_is_hashed_again_next_time(
    root: Path, tmp_path: Path, hashed: list[str]
) -> None:
    for _ in range(2):
        hashed.clear()
        look(root, tmp_path / "cache")
        assert len(hashed) == 5


def test_a_second_write_within_the_clocks_tick_is_seen(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(contents, "signature_of", lambda path: (4, now, now, 1))
    found = Contents(root, None)
    found.sha256("a.png")
    (root / "a.png").write_bytes(b"new!")
    with pytest.raises(FileChangedError):
        found.sha256("a.png")


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("modified", "changed", "expected"),
    [
        (-10, -10, True),
        (-1, -10, False),  # written now, where the change time is that of creation
        (-10, -1, False),  # unpacked now, with its old time
        (3600, -10, True),  # a time from the future, set by hand long ago
        (3600, 3600, False),  # the clock of a file server is ahead
        (1, -10, False),
    ],
)
def test_which_times_are_trusted_later(modified: int, changed: int, *, expected: bool) -> None:
    began = time.time_ns()
    signature = (4, began + modified * SECOND, began + changed * SECOND, 0)
    assert contents._is_settled(signature, began) is expected  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("settled")
def test_without_change_times_and_inodes_hashing_again_finds_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(path: Path) -> tuple[int, int, int, int]:
        found = path.stat()
        return found.st_size, found.st_mtime_ns, 0, 0

    monkeypatch.setattr(contents, "signature_of", poor)
    before = look(root, tmp_path / "cache")
    rewrite(root / "a.png")
    assert look(root, tmp_path / "cache") == before
    assert look(root, tmp_path / "cache", again=True)["a.png"] == file_sha256(root / "a.png")
    assert look(root, tmp_path / "cache")["a.png"] == file_sha256(root / "a.png")


# -- the index -----------------------------------------------------------------------------------


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda raw: raw[: len(raw) // 2],
    "zeros": lambda raw: bytes(len(raw)),
    "text": lambda _: b"no index at all\n",
    "another hash": lambda raw: raw.replace(b'"a.png":["', b'"a.png":["0'),
    "one bit": lambda raw: raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:],
    "one line": lambda raw: raw.replace(b"\n", b""),
}


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_made_anew(
    root: Path, tmp_path: Path, hashed: list[str], damage: str
) -> None:
    first = look(root, tmp_path / "cache")
    path = index_of(tmp_path / "cache")
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert path.read_bytes() != whole
    hashed.clear()
    assert look(root, tmp_path / "cache") == first
    assert len(hashed) == 5
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("settled")
def test_an_index_of_another_root_is_not_believed(
    root: Path, tmp_path: Path, hashed: list[str]
) -> None:
    look(root, tmp_path / "cache")
    whole = index_of(tmp_path / "cache").read_bytes()
    (tmp_path / "other").mkdir()
    for name in names_in(root):
        target = tmp_path / "other" / name
        target.parent.mkdir(exist_ok=True)
        os.link(root / name, target)
    look(tmp_path / "other", tmp_path / "second")
    index_of(tmp_path / "second").write_bytes(whole)
    hashed.clear()
    look(tmp_path / "other", tmp_path / "second")
    assert len(hashed) == 5


@pytest.mark.usefixtures("settled")
def test_a_cache_folder_that_cannot_be_written_costs_time_only(
    root: Path, tmp_path: Path, hashed: list[str]
) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        hashed.clear()
        assert look(root, tmp_path / "file") == look(root, None)
        assert len(hashed) == 10


@pytest.mark.usefixtures("settled")
def test_domains_of_one_root_share_an_index(root: Path, tmp_path: Path, hashed: list[str]) -> None:
    for names in (["a.png"], ["b.png", "sub/a.png"]):
        Contents(root, tmp_path / "cache").all(names, "files")
    hashed.clear()
    look(root, tmp_path / "cache")
    assert sorted(hashed) == ["with space.png", "é.png"]


@pytest.mark.usefixtures("settled")
def test_files_that_are_gone_leave_the_index(root: Path, tmp_path: Path) -> None:
    look(root, tmp_path / "cache")
    (root / "b.png").unlink()
    rewrite(root / "a.png")
    Contents(root, tmp_path / "cache").all(["a.png"], "files")
    assert b"b.png" not in index_of(tmp_path / "cache").read_bytes()
    assert b"sub/a.png" in index_of(tmp_path / "cache").read_bytes()


@pytest.mark.usefixtures("settled")
def test_what_was_hashed_before_an_interrupt_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[str]
) -> None:
    def interrupted(path: Path) -> str:
        if path.name == "é.png":
            raise KeyboardInterrupt
        return file_sha256(path)

    with monkeypatch.context() as patch:
        patch.setattr(contents, "file_sha256", interrupted)
        with pytest.raises(KeyboardInterrupt):
            look(root, tmp_path / "cache")
    hashed.clear()
    look(root, tmp_path / "cache")
    assert hashed == ["é.png"]


PROCESS = """
import sys
from pathlib import Path
from cdfss_bench.datasets.core import content_index as contents
contents._RACY = -1
root, cache = map(Path, sys.argv[1:])
names = sorted(path.name for path in root.iterdir())
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    found = contents.Contents(root, cache).all(names, "files", again=True)
print(sorted(found.values()))
"""


def test_processes_may_write_the_index_at_once(tmp_path: Path, hashed: list[str]) -> None:
    for number in range(40):
        path = tmp_path / "root" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]))
    printed = side_by_side(PROCESS, tmp_path / "root", tmp_path / "cache")
    expected = sorted(look(tmp_path / "root", None).values())
    assert printed == [f"{expected}\n"] * 2
    hashed.clear()
    assert sorted(look(tmp_path / "root", tmp_path / "cache").values()) == expected
    assert hashed == []


# -- what cannot be hashed -----------------------------------------------------------------------


def fingerprint_error(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        _ = open_domain("folder", root).fingerprint
    assert "\n" not in caught.value.problem
    return caught.value


@pytest.fixture
def own(tmp_path: Path) -> Path:
    trees.write_folder(tmp_path / "own")
    return tmp_path / "own"


def test_a_file_that_vanishes_while_files_are_hashed_is_named(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = own / "images" / "dog" / "003.jpg"

    def vanishing(path: Path) -> str:
        victim.unlink(missing_ok=True)
        return file_sha256(path)

    monkeypatch.setattr(contents, "file_sha256", vanishing)
    assert fingerprint_error(own).problem == f"{victim} is missing"


@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_cannot_be_read_is_named(
    own: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    victim = own / "masks" / "cat" / "000.png"

    def refusing(path: Path) -> str:
        if path == victim:
            raise PermissionError(13, "Permission denied", *([str(path)] if named else []))
        return file_sha256(path)

    monkeypatch.setattr(contents, "file_sha256", refusing)
    error = fingerprint_error(own)
    assert error.problem == f"{victim} cannot be read (Permission denied)"
    assert error.hint == "make it a file that you may read, or replace it"


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes have names there")
def test_a_pipe_is_refused_without_waiting(own: Path) -> None:
    victim = own / "images" / "dog" / "003.jpg"
    victim.unlink()
    os.mkfifo(victim)
    assert fingerprint_error(own).problem == f"{victim} cannot be read (it is no regular file)"


def test_a_file_that_changes_while_it_is_hashed_is_refused(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = own / "images" / "dog" / "003.jpg"

    def growing(path: Path) -> str:
        if path == victim:
            with path.open("ab") as file:
                file.write(b"\0")
        return file_sha256(path)

    monkeypatch.setattr(contents, "file_sha256", growing)
    assert fingerprint_error(own).problem == f"{victim} changed while it was in use"


def test_hashing_tells_how_far_it_is(own: Path) -> None:
    told: list[tuple[str, int, int]] = []

    @contextmanager
    def display(what: str) -> Generator[Callable[[int, int], None]]:
        yield lambda done, total: told.append((what, done, total))

    show_progress_with(display)
    try:
        _ = open_domain("folder", own, cache=None).fingerprint
    finally:
        show_progress_with(None)
    assert told == [("hashing the files of folder", n, 24) for n in range(1, 25)]
