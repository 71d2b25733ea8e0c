"""Records together with their rows: what statistics are computed from."""

from __future__ import annotations

import gc
import hashlib
import shlex
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import from_json

from cdfss_bench.canonical import canonical_json
from cdfss_bench.errors import RecordError

from .cell_folder import CellFolder, EpisodeRow
from .counted import Counted, parse_rows
from .kept import Kept
from .place import folder_of
from .schema import RunRecord, read_record, record_paths

_ROWS = CellFolder(Path()).rows.name


@dataclass(frozen=True)
class RunResult:
    """One finished cell.

    Attributes:
        path: of its `run.json`.
        record: what that says.
    """

    path: Path
    record: RunRecord

    @classmethod
    def of(cls, record: RunRecord, results: Path) -> RunResult:
        """The cell of a record under a results folder."""
        return cls(folder_of(record, results).record, record)

    @cached_property
    def counted(self) -> Counted:
        """The cell's rows in manifest order, as columns.

        Raises:
            RecordError: if a row is damaged or missing.
        """
        file = CellFolder(self.path.parent).rows
        try:
            raw = file.read_bytes()
            found = parse_rows(raw.decode("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(
                f"{file} cannot be read ({error})",
                hint=f"cdfss-bench verify {shlex.quote(str(self.path.parent))}",
            ) from error
        in_order = list(range(self.record.episodes.count))
        if found is None or sorted(found.asked.indices) != in_order:
            raise RecordError(
                f"{file} does not hold the {self.record.episodes.count} episodes of its record",
                hint="type the run again: only what is missing is computed",
            )
        if hashlib.sha256(raw).hexdigest() != self.record.episodes.rows_sha256:
            raise RecordError(
                f"{file} was changed after it was written: its sha256 is another",
                hint="type the run again: only what is damaged is computed",
            )
        if found.asked.indices != in_order:
            return Counted.of(sorted(found.rows, key=lambda row: row.index))
        return found

    @cached_property
    def rows(self) -> tuple[EpisodeRow, ...]:
        """The cell's rows in manifest order.

        Raises:
            RecordError: if a row is damaged or missing.
        """
        return tuple(self.counted.rows)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the file of the rows is the one that was written, a line for every episode."""
        try:
            raw = self.path.with_name(_ROWS).read_bytes()
        except OSError:
            return False
        asked = self.record.episodes
        is_written = hashlib.sha256(raw).hexdigest() == asked.rows_sha256
        return is_written and raw.count(b"\n") == asked.count

    @property
    def content(self) -> str:
        """Stands for the rows in keys of what is computed from them.

        Raises:
            RecordError: if they are not those that were written.
        """
        if not self.is_whole:
            _ = self.counted
        return f"{self.record.episodes.rows_sha256} {self.record.episodes.count}"

    @property
    def asked(self) -> list[tuple[str, int]]:
        """Query and class of every episode: what a control with other supports has in common."""
        return [(query, class_id) for class_id, query in self.counted.asked.images]


def run_results(
    results: Path, told: Callable[[RecordError], None] | None = None
) -> list[RunResult]:
    """Every record under a results folder, finished or not.

    Args:
        results: the folder.
        told: is handed the error of every record that is damaged, newer than this version or too
            deep, or whose rows are damaged; such records are left out. Without it the first of
            them is raised.

    Raises:
        RecordError: for a damaged record, unless `told` is given.
    """
    found: list[RunResult] = []
    with Kept("seals", str(results.resolve())) as seals, uncollected():
        for path in record_paths(results):
            try:
                one = RunResult(path, _read(path, seals))
                # Rows are read where a number needs them; what is wrong with them is told here.
                if told is not None and one.record.status == "done" and not one.is_whole:
                    _ = one.counted
            except RecordError as error:
                if told is None:
                    raise
                told(error)
            else:
                found.append(one)
    for error in _misplaced(results):
        if told is None:
            raise error
        told(error)
    return found


def _misplaced(results: Path) -> Iterator[RecordError]:
    """What is said of records that lie deeper than records do, as when `runs` is copied into it."""
    cells = (path for path in (results / "runs").glob("*/*/*") if path.is_dir())
    deep = (p for c in cells if not (c / "run.json").exists() for p in c.rglob("run.json"))
    for path in sorted(deep):
        yield RecordError(
            f"{path} lies deeper than records do, so it is not read",
            hint="move DOMAIN-SHOTS/METHOD/CELL, the last three folders of its path, to "
            f"{results / 'runs'}",
        )


def _read(path: Path, seals: Kept) -> RunRecord:
    """`read_record`, without computing the seal of bytes again that were found to fit theirs."""
    try:
        raw = path.read_bytes()
        known = hashlib.sha256(raw).hexdigest()
        is_fit = seals.knows(known) or _is_sealed(raw)
        record = RunRecord.model_validate_json(raw) if is_fit else read_record(path, raw)
    except (OSError, ValidationError):
        return read_record(path)
    seals.get(known, bool)
    return record


def _is_sealed(raw: bytes) -> bool:
    """Whether the bytes of a record are quickly seen to fit its seal; `read_record` decides else.

    It parses in a third of the time, and keeps the last of equal keys without a word: therefore as
    many keys must stand in the file as are sealed.
    """
    try:
        values = from_json(raw, allow_inf_nan=False)
        seal = values.pop("seal")
        text = canonical_json(values).encode()
    except (ValueError, TypeError, AttributeError, KeyError):
        return False
    return hashlib.sha256(text).hexdigest() == seal and raw.count(b'":') == text.count(b'":') + 1


def note_seals(results: Path, records: Iterable[RunRecord]) -> None:
    """Notes that records that were just saved fit their seals: the next call need not compute them.

    Args:
        results: the folder that they were saved in.
        records: of cells there; one that was changed meanwhile is not noted.
    """
    with Kept("seals", str(results.resolve())) as seals:
        for record in records:
            with suppress(RecordError):
                _read(folder_of(record, results).record, seals)


@contextmanager
def uncollected() -> Generator[None]:
    """No garbage collection: of many records that stay it would find nothing, again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
