"""Where a record lies."""

from __future__ import annotations

from pathlib import Path

from .cell_folder import CellFolder
from .schema import RunRecord


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
