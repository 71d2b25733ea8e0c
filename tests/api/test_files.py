"""Files that are whole or absent, whatever the disk does."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from cdfss_bench.errors import UserError
from cdfss_bench.files import explained_os_errors, write_atomically


def failing(code: int) -> Callable[..., NoReturn]:
    """A function of any arguments that the operating system refuses."""

    def refused(*_arguments: object, **_named: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refused


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text("old")
    return path


@pytest.mark.parametrize(
    ("data", "written"), [(b"\x00\xff", b"\x00\xff"), ("größer", "größer".encode()), ("", b"")]
)
def test_the_file_holds_exactly_what_was_given(
    tmp_path: Path, data: bytes | str, written: bytes
) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_atomically(path, data)
    assert path.read_bytes() == written
    assert os.listdir(path.parent) == ["file"]  # noqa: PTH208


def test_an_old_file_is_replaced(old: Path) -> None:
    write_atomically(old, "new")
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_a_reader_of_the_old_file_keeps_it(old: Path) -> None:
    with old.open() as reader:
        write_atomically(old, "new")
        assert reader.read() == "old"


def test_others_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "shared")
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "fdopen"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_the_old_file_survives(
    old: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    monkeypatch.setattr(os, step, failing(code))
    with pytest.raises(UserError) as caught:
        write_atomically(old, "new")
    assert caught.value.problem == f"no space left on the disk of {old} while writing run.json"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("free some space")
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_an_interrupted_write_leaves_the_old_file_alone(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_descriptor: int) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(old, "new")
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_a_failed_rename_leaves_the_old_file_alone(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(old, "new")
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_forbidden_folder_is_named_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "results" / "run.json"
    monkeypatch.setattr(Path, "mkdir", failing(code))
    with pytest.raises(UserError) as caught:
        write_atomically(path, "new")
    assert caught.value.problem == (
        f"{path} may not be written while writing run.json ({os.strerror(code)})"
    )
    assert caught.value.hint == "name a folder you may write to"


@pytest.mark.parametrize("tail", ["file/run.json", "file/deeper/run.json", "folder", "x" * 300])
def test_an_impossible_place_is_named_in_a_sentence(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    path = tmp_path / tail
    with pytest.raises(UserError) as caught:
        write_atomically(path, "new")
    assert caught.value.problem.startswith(f"{path} cannot be written while writing {path.name} (")
    assert caught.value.hint == "name another file or folder"
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file", "folder"]


def test_an_error_of_the_disk_itself_is_not_explained_away(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="Input/output error"),
        explained_os_errors(tmp_path, "writing"),
    ):
        failing(errno.EIO)()
