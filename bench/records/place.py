"""Where a record lies, and whether it lies there finished."""

from pathlib import Path

from cdfss_bench.errors import RecordError

from .cell_folder import CellFolder
from .schema import RunRecord, read_record


def folder_of(record: RunRecord, results: Path) -> CellFolder:
    """The folder of a record's cell.

    Args:
        record: of the cell.
        results: the results folder.
    """
    return CellFolder.of(
        results,
        domain=record.domain.title,
        shots=record.episodes.shots,
        label=record.method.label,
        cell=record.cell,
    )


def finished_record(folder: CellFolder, cell: str) -> RunRecord | None:
    """The record of a cell in its folder, if it is complete and its rows are all there."""
    try:
        record = read_record(folder.record)
    except RecordError:
        return None
    fits = record.status == "done" and record.cell == cell
    return record if fits and folder.rows_sha256() == record.episodes.rows_sha256 else None
