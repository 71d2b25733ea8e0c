"""What is asked of a cell beside its counts, also once it is finished: masks, boundary measures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import RecordError

from ..planning.cell import Cell
from ..records.cell_folder import EpisodeRow
from ..records.results import RunResult
from ..records.schema import RunRecord
from .saved_masks import SavedMasks

Rows = Mapping[int, EpisodeRow]


@dataclass(frozen=True, slots=True)
class Extras:
    """What is asked for beside the counts.

    Attributes:
        results: the results folder.
        masks: where predicted masks are written; None to write none.
        boundary: tolerance of NSD in pixels; None without boundary measures.
    """

    results: Path
    masks: SavedMasks | None
    boundary: float | None

    def __str__(self) -> str:
        """The words for it in a message."""
        return "masks are" if self.masks is not None else "boundary measures are"

    def missing(self, cell: Cell, rows: Rows) -> set[int]:
        """Episodes whose mask or boundary measures are asked for and are not there."""
        masks = set[int]() if self.masks is None else self.masks.missing(cell, rows)
        has = {index for index, row in rows.items() if row.is_measured(self.boundary)}
        return masks | (set(range(len(cell.episode_set.manifest))) - has)

    def missing_in(self, cell: Cell, record: RunRecord | None) -> set[int]:
        """As `missing`, of a cell with a finished record, or without one."""
        if self.masks is None and self.boundary is None:
            return set()
        return self.missing(cell, {} if record is None else self._rows(cell, record))

    def keep(self, cell: Cell) -> Callable[[Sequence[int], NDArray[np.uint8]], None] | None:
        """What writes the masks of a cell, uint8 [B, S, S] of so many episodes."""
        return None if self.masks is None else self.masks.begin(cell).write_all

    def add(
        self,
        cell: Cell,
        record: RunRecord,
        computed: Callable[[set[int]], Iterable[tuple[list[EpisodeRow], object]]],
        tell: Callable[[int, int], None],
    ) -> str:
        """Compute what is missing of a finished cell, whose counts are never changed.

        Args:
            cell: finished.
            record: its record, saved again where its rows have changed.
            computed: gives rows and times, batch by batch, of all episodes but those it is
                handed.
            tell: hears how many episodes are complete, of how many.

        Returns:
            A sentence where saved masks contradict the counts, else nothing.

        Raises:
            RecordError: if boundary measures are asked for and masks contradict the counts.
        """
        folder, rows = cell.folder(self.results), self._rows(cell, record)
        missing = self.missing(cell, rows)
        known, other = set(rows) - missing, 0
        done = len(known)
        for batch, _ in computed(known):
            alike = [row for row in batch if row.counts == rows[row.index].counts]
            other += len(batch) - len(alike)
            if self.boundary is not None:
                added = [replace(rows[row.index], boundary=row.boundary) for row in alike]
                folder.keep_added(added)
                rows |= {row.index: row for row in added}
            done += len(batch)
            tell(done, len(rows))
        if other and self.boundary is not None:
            raise RecordError(
                f"boundary measures are not recorded: {other} masks have other pixel counts than "
                "the record, made elsewhere",
                hint="compute the cell anew in another folder, with --results DIR",
            )
        if self.boundary is not None:
            record.episodes.rows_sha256 = folder.replace_rows(list(rows.values()))
            record.save(folder.record)
        if not other:
            return ""
        return f"{other} saved masks have other pixel counts than the record, made elsewhere"

    def _rows(self, cell: Cell, record: RunRecord) -> dict[int, EpisodeRow]:
        """The rows of a finished cell, with boundary measures that were not yet recorded."""
        folder = cell.folder(self.results)
        rows = {row.index: row for row in RunResult(folder.record, record).rows}
        return rows if self.boundary is None else folder.with_added(rows)
