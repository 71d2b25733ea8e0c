"""The rows of a run as columns of numbers, from which metrics, intervals and tests are computed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from .boundary import Boundary
from .cell_folder import EpisodeRow, parse_row
from .counts import Counts

_NUMBER = "(0|[1-9][0-9]{0,14})"
_COUNTS = ",".join(f'"{name}":{_NUMBER}' for name in Counts._fields)
_ROW = re.compile(rf"^(\{{.*?),{_COUNTS}\}}$", re.MULTILINE)
"""A row without boundary measures as the evaluator writes it: what was asked, and four counts."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What the rows of a run were asked; one object for all runs that were asked the same.

    Attributes:
        rows: with what was asked, their counts 0.
        is_canonical: whether all of it was read from text as `EpisodeRow.to_line` spells it.
    """

    rows: tuple[EpisodeRow, ...]
    is_canonical: bool = False

    @cached_property
    def indices(self) -> list[int]:
        """The rows' places in their manifest."""
        return [row.index for row in self.rows]

    @cached_property
    def class_ids(self) -> NDArray[np.int64]:
        """The class of every row, [N]."""
        return np.array([row.episode.class_id for row in self.rows], np.int64)

    @cached_property
    def images(self) -> list[tuple[int, str]]:
        """Class and query image of every row."""
        return [(row.episode.class_id, row.episode.query) for row in self.rows]


@dataclass(frozen=True, eq=False)
class Counted:
    """The rows of a run.

    Attributes:
        asked: what they were asked.
        counts: int64 [N, 4] in the order of `Counts`.
        boundaries: the boundary measures of every row.
    """

    asked: Asked
    counts: NDArray[np.int64]
    boundaries: Sequence[Boundary | None]

    @classmethod
    def of(cls, rows: Sequence[EpisodeRow]) -> Counted:
        """The columns of some rows.

        Raises:
            OverflowError: if a count has more than 63 bits.
        """
        counts = np.asarray([row.counts for row in rows], np.int64).reshape(-1, 4)
        return cls(Asked(tuple(rows)), counts, [row.boundary for row in rows])

    @property
    def rows(self) -> list[EpisodeRow]:
        """The rows themselves."""
        return [
            EpisodeRow(row.index, row.episode, Counts(*counts), boundary)
            for row, counts, boundary in zip(
                self.asked.rows, self.counts.tolist(), self.boundaries, strict=True
            )
        ]


def parse_rows(text: str) -> Counted | None:
    """The rows of the text of `episodes.jsonl`; None if one is torn or damaged (`parse_row`)."""
    lines = text.splitlines()
    found = _ROW.findall(text)
    if lines and len(found) == len(lines):
        starts, *columns = zip(*found, strict=True)
        if (asked := _asked(starts)) is not None:
            counts = np.array([list(map(int, column)) for column in columns], np.int64)
            return Counted(asked, counts.T, [None] * len(lines))
    rows = [parse_row(line) for line in lines]
    known = [row for row in rows if row is not None]
    try:
        return Counted.of(known) if len(known) == len(rows) else None
    except OverflowError:
        return None


@lru_cache(maxsize=256)
def _asked(starts: tuple[str, ...]) -> Asked | None:
    """What rows that begin so were asked; None where one of them is not a row of this kind."""
    ends = "".join(f',"{name}":0' for name in Counts._fields) + "}"
    rows = [parse_row(start + ends) for start in starts]
    known = [row for row in rows if row is not None and row.boundary is None]
    if len(known) != len(rows):
        return None
    is_canonical = all(
        row.to_line() == start + ends for row, start in zip(known, starts, strict=True)
    )
    return Asked(tuple(known), is_canonical)
