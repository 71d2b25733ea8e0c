"""What nothing cheaper reaches: rows of a leaderboard by their mIoU and by what they cost."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from .leaderboard import APART, ColumnKey, Leaderboard, RowKey
from .rows import Row

K = TypeVar("K")


class Measured(NamedTuple):
    """One row as it stands in the trade of mIoU against cost.

    Attributes:
        miou: the mean over the board's domains, or of its only domain.
        gflop: of an episode, learning included.
        ms: of an episode, learning included; the median.
        ranked: whether it may stand on a frontier; what was selected on target data, lacks its
            source training, or was computed by older code may not.
    """

    miou: float
    gflop: float
    ms: float
    ranked: bool


def only_column(board: Leaderboard) -> ColumnKey | None:
    """The column that stands for the mean where a board has just one; else None."""
    return board.columns[0] if len(board.columns) == 1 else None


def measured(board: Leaderboard) -> dict[RowKey, Measured]:
    """The rows of a board that have both a score for the whole board and a cost."""
    unranked = {
        row.key
        for section in board.sections()
        for row in section.rows
        if section.title in APART or board.is_stale(row, only_column(board))
    }
    found: dict[RowKey, Measured] = {}
    for key, row in board.rows.items():
        score = _score(board, row)
        if score is not None and row.cost is not None:
            spent = row.cost.latency_ms["episode"]["p50"]
            gflop = row.cost.flops_episode / 1e9
            found[key] = Measured(score, gflop, spent, key not in unranked)
    return found


def by_machine(board: Leaderboard, rows: Mapping[RowKey, Measured]) -> dict[str, list[RowKey]]:
    """Rows whose times were taken on the same machine: only those may be compared."""
    machines: dict[str, list[RowKey]] = {}
    for key in rows:
        machines.setdefault(board.rows[key].machine, []).append(key)
    return machines


def frontier(points: Mapping[K, tuple[float, float]]) -> list[K]:
    """Those (cost, score) that no cheaper one reaches, cheapest first; of equals one."""
    best: list[K] = []
    for key, (_, score) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if not best or score > points[best[-1]][1]:
            best.append(key)
    return best


def _score(board: Leaderboard, row: Row) -> float | None:
    column = only_column(board)
    if column is None:
        return board.mean(row)
    score = row.scores.get(column)
    return None if score is None else score.mean
