"""Who stands where in a column: interval, rank, and who cannot be told from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..records.results import RunResult
from ..statistics.bootstrap import Interval, Resampled, resampled, together
from ..statistics.claims import ALPHA
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .current import by_cell
from .leaderboard import ColumnKey, Leaderboard, Row, RowKey, Score
from .shuffled_control import AgainstControl, against_controls

RESAMPLES = 2_000
"""For tables, which show one decimal of an interval; `compare` takes 10,000."""
POOLED = ("miou", "dice")
"""Metrics that are means over classes of ratios of pooled counts, as the bootstrap takes them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One row in one column.

    Attributes:
        interval: 95 %, over query images; None where they are too few or the rows are not there.
        rank: among the rows of the same section, 1 is the best; None for controls and for what
            older code computed.
        tied: whether it does not differ significantly from the best of its section: the paired
            test, adjusted by Holm's rule for all rows of the column, does not reach 5 %.
        worse: whether it is significantly worse than the best of its section, by the same test.
        control: how it does against its shuffled-support control; None where that is not there.
    """

    interval: Interval | None
    rank: int | None
    tied: bool
    worse: bool = False
    control: AgainstControl | None = None


Standings = Mapping[tuple[RowKey, ColumnKey | None], Standing]
"""By row and column; None is the mean over the domains."""


def standings(board: Leaderboard, found: Sequence[RunResult] | dict[str, RunResult]) -> Standings:
    """Where every row stands in every column, from the rows of the records.

    Intervals, ties and tests against controls exist of the metrics that pool counts by class, mIoU
    and Dice; of others there are ranks alone.

    Args:
        board: whose rows are ranked.
        found: all results, or those that the board shows by cell, as `by_cell` gives them.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    known = found if isinstance(found, dict) else by_cell(found)
    is_pooled = board.metric in POOLED
    controls = against_controls(board, known) if is_pooled else {}
    result: dict[tuple[RowKey, ColumnKey | None], Standing] = {}
    replicates: dict[tuple[RowKey, ColumnKey], Resampled | None] = {}
    for column in board.columns:
        for section in board.sections():
            rows = [row for row in section.rows if column in row.scores]
            rows.sort(key=lambda row: (row.scores[column].is_stale, -row.scores[column].mean))
            answers = {
                row.key: [known[c] for _, c in sorted(row.scores[column].cells.items())]
                for row in rows
            }
            ranked = [row for row in rows if not row.scores[column].is_stale]
            ranked = ranked if section.is_ranked else []
            p_values: dict[int, float] = {}
            if is_pooled:
                p_values = _against_best([answers[row.key] for row in ranked], board.metric)
            for place, row in enumerate(rows):
                again = None
                if is_pooled:
                    runs = [answer.rows for answer in answers[row.key]]
                    again = resampled(
                        clustered(runs, metric=board.metric), resamples=RESAMPLES, by_class=False
                    )
                replicates[row.key, column] = again
                interval = _stated(row.scores[column], again.mean if again else None)
                p = p_values.get(place)
                result[row.key, column] = Standing(
                    interval,
                    place + 1 if place < len(ranked) else None,
                    tied=p is not None and p > ALPHA,
                    worse=p is not None and p <= ALPHA,
                    control=controls.get((row.key, column)),
                )
    for section in board.sections():
        ranked = [(mean, row) for row in section.rows if (mean := board.mean(row)) is not None]
        ranked.sort(key=lambda pair: (board.is_stale(pair[1], None), -pair[0]))
        for rank, (_, row) in enumerate(ranked, 1):
            interval = _of_mean(row, board, replicates)
            is_ranked = section.is_ranked and not board.is_stale(row, None)
            result[row.key, None] = Standing(interval, rank if is_ranked else None, tied=False)
    return result


def _stated(score: Score, resampled_here: Interval | None) -> Interval | None:
    """One seed's interval as its record has it, drawn from more resamples; else the one found."""
    if resampled_here is None or not len(score.mious) == len(score.intervals) == 1:
        return resampled_here
    low, high = next(iter(score.intervals.values()))
    return replace(resampled_here, low=low, high=high)


def _of_mean(
    row: Row,
    board: Leaderboard,
    replicates: Mapping[tuple[RowKey, ColumnKey], Resampled | None],
) -> Interval | None:
    parts = [replicates[row.key, column] for column in board.mean_columns]
    known = [part for part in parts if part is not None]
    return together(known) if len(known) == len(parts) else None


def _against_best(ordered: list[list[RunResult]], metric: str) -> dict[int, float]:
    """By place of a row, the best first, the p value of the paired test against the best.

    Adjusted by Holm's rule; rows that were not asked the same episodes have none.
    """
    if not ordered:
        return {}
    best, *others = ordered
    episodes = [answer.record.episodes.sha256 for answer in best]
    p_values: dict[int, float] = {}
    for index, row in enumerate(others, 1):
        # Other seeds or a control's other supports: not paired, so nothing is said.
        if [answer.record.episodes.sha256 for answer in row] == episodes:
            clusters = clustered([answer.rows for answer in (*best, *row)], metric=metric)
            under_null = swapped(clusters, permutations=RESAMPLES)
            p_values[index] = p_value(difference(clusters), under_null)
    return dict(holm(p_values))
