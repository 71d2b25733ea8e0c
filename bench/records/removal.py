"""Removing records: all files of a cell, never of one that is at work or lies elsewhere."""

from contextlib import suppress
from pathlib import Path

from cdfss_bench.errors import RecordError, UserError
from cdfss_bench.files import explained_os_errors

from .cell_folder import CellFolder
from .place import folder_of
from .schema import RunRecord, read_record


def size_of(folder: Path) -> int:
    """Bytes of a cell's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if _is_ours(path))


def is_running(folder: Path) -> bool:
    """Whether a process holds the lock of a cell."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with CellFolder(folder).lock():
            return False
    except RecordError:
        return True


def refuse_foreign(folder: Path, results: Path) -> None:
    """Refuses what is no cell of a results folder, links to elsewhere included.

    Raises:
        UserError: saying so.
    """
    home, inside = results.resolve(), folder.resolve()
    parts = inside.relative_to(home).parts if inside.is_relative_to(home) else ()
    if len(parts) != _DEPTH or parts[0] != "runs":
        raise UserError(
            f"{folder} is no run under {results}", hint="name its results folder with --results DIR"
        )


def remove(folder: Path, results: Path) -> list[Path]:
    """Removes the files of a cell, its folder, and the folders above it that are empty then.

    Args:
        folder: of the cell.
        results: the results folder, which stays.

    Returns:
        What lies in the folder and was written by no run: it is kept, and the folder with it.

    Raises:
        RecordError: if a process works on the cell.
        UserError: if it is no cell of that results folder, or may not be removed.
    """
    refuse_foreign(folder, results)
    folder = folder.resolve()
    kept: list[Path] = []
    with CellFolder(folder).lock(), explained_os_errors(folder, "removing it"):
        for path in sorted(folder.iterdir()):
            # The lock is held until all else is gone: what it guards cannot be begun meanwhile.
            if path.name == ".lock":
                continue
            if _is_ours(path):
                path.unlink()
            else:
                kept.append(path)
    with suppress(OSError):  # another process may have begun the cell again
        (folder / ".lock").unlink(missing_ok=True)
        for empty in (folder, *folder.parents[: _DEPTH - 1]):
            empty.rmdir()
    return kept


def _is_ours(path: Path) -> bool:
    """Whether a run wrote it, or began to."""
    folder = CellFolder(path.parent)
    ours = (folder.record, folder.rows, folder.added, folder.timings, folder.manifest)
    names = [file.name for file in ours]
    begun = any(path.name.startswith(f".{name}.") for name in names)
    return (path.is_file() or path.is_symlink()) and (path.name in names or begun)


_DEPTH = 4
"""`runs/DOMAIN-Kshot/METHOD/CELL` below the results folder."""


def forget_refusals(done: RunRecord, results: Path) -> None:
    """Removes records that say why a cell could not be computed which is done now.

    Args:
        done: the finished record.
        results: the results folder; nothing happens where it may only be read.
    """
    own = folder_of(done, results).path
    for path in own.parent.glob("*/run.json"):
        if path.parent == own:
            continue
        with suppress(UserError):
            other = read_record(path)
            if other.status == "refused" and _asks_the_same(other, done):
                remove(path.parent, results)


def _asks_the_same(refused: RunRecord, done: RunRecord) -> bool:
    mine, theirs = refused.episodes, done.episodes
    return (
        refused.method.composition == done.method.composition
        and refused.domain.title == done.domain.title
        # Where no weights were found, the backbone was not known yet.
        and refused.method.backbone in ("", done.method.backbone)
        and (mine.protocol, mine.shots, mine.seed) == (theirs.protocol, theirs.shots, theirs.seed)
    )
