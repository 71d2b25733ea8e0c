"""Paired tests of one row of a leaderboard against another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..records.results import RunResult
from ..statistics.claims import ALPHA, MINIMUM
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .leaderboard import ColumnKey, RowKey
from .pairing import of_same_seeds
from .rows import Row

MEAN = "the mean"


class Tested(NamedTuple):
    """One row against another on a domain or in the mean.

    Attributes:
        where: title of the domain, or `the mean`.
        name: label of the row.
        other: label of the other row.
        points: the row's mIoU minus the other's.
        p: of the sign-flip test, adjusted by Holm's rule for all tests made with it.
    """

    where: str
    name: str
    other: str
    points: float
    p: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where a difference may be claimed, else `close` or `open`."""
        if self.p > ALPHA:
            return "open"
        if abs(self.points) < MINIMUM:
            return "close"
        return "better" if self.points > 0 else "worse"


def row_tests(
    row: Row,
    other: Row,
    columns: Sequence[ColumnKey],
    names: Mapping[RowKey, str],
    known: Mapping[str, RunResult],
    mean: Sequence[ColumnKey] = (),
) -> list[Tested]:
    """The sign-flip tests of a row against another, on what both answered on the same episodes.

    Args:
        row: of the board.
        other: of the same board.
        columns: where they are compared; what older code computed is not.
        names: of the rows.
        known: the results, by cell.
        mean: the columns of the mean, which is tested where both answered all of them.
    """
    found: dict[ColumnKey, tuple[float, NDArray[np.float64]]] = {}
    for column in columns:
        ours, theirs = row.scores.get(column), other.scores.get(column)
        if ours is None or theirs is None or ours.is_stale or theirs.is_stale:
            continue
        pairs = of_same_seeds(ours, theirs, known)
        pairs = [p for p in pairs if p[0].record.episodes.sha256 == p[1].record.episodes.sha256]
        if pairs:
            clusters = clustered([pair[side].counted for side in (0, 1) for pair in pairs])
            found[column] = difference(clusters), swapped(clusters, stream=column.domain)
    values = {column.domain: value for column, value in found.items()}
    if len(mean) > 1 and all(column in found for column in mean):
        parts = [found[column] for column in mean]
        null = np.mean([null for _, null in parts], axis=0)
        values[MEAN] = sum(points for points, _ in parts) / len(parts), null
    return [
        Tested(place, names[row.key], names[other.key], points, p_value(points, null))
        for place, (points, null) in values.items()
    ]


def adjusted(tests: Sequence[Tested]) -> list[Tested]:
    """The same tests with p values by Holm's rule for all of them."""
    p = holm({index: test.p for index, test in enumerate(tests)})
    return [test._replace(p=p[index]) for index, test in enumerate(tests)]
