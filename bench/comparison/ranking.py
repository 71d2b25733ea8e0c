"""Who stands where in a column: interval, rank, and who cannot be told from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial

from ..records.kept import Kept
from ..records.results import RunResult
from ..statistics.bootstrap import Interval, Resampled, resampled, together
from ..statistics.claims import ALPHA
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .current import Found, by_cell
from .leaderboard import ColumnKey, Leaderboard, RowKey
from .rows import Score
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


def standings(board: Leaderboard, found: Found) -> Standings:
    """Where every row stands in every column, from the rows of the records.

    Intervals, ties and tests against controls exist of the metrics that pool counts by class, mIoU
    and Dice; of others there are ranks alone. What was computed of the same rows before is not
    computed again (`Kept`).

    Args:
        board: whose rows are ranked.
        found: all results, or those that the board shows by cell, as `by_cell` gives them.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    known = by_cell(found)
    with Kept("standings", board.metric, *map(str, board.key)) as kept:
        return _standings(board, known, kept)


def _standings(board: Leaderboard, known: dict[str, RunResult], kept: Kept) -> Standings:
    is_pooled = board.metric in POOLED
    controls = against_controls(board, known, kept) if is_pooled else {}
    result: dict[tuple[RowKey, ColumnKey | None], Standing] = {}
    drawn: dict[tuple[RowKey, ColumnKey], _Drawn] = {}
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
                p_values = _against_best([answers[row.key] for row in ranked], board.metric, kept)
            for place, row in enumerate(rows):
                interval = None
                if is_pooled:
                    own = _Drawn(answers[row.key], board.metric)
                    drawn[row.key, column] = own
                    again = _interval(kept.get(["resampled", own.contents], own.interval))
                    interval = _stated(row.scores[column], again)
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
            parts = [drawn.get((row.key, column)) for column in board.mean_columns]
            interval = _of_mean([part for part in parts if part is not None], kept)
            is_ranked = section.is_ranked and not board.is_stale(row, None)
            result[row.key, None] = Standing(interval, rank if is_ranked else None, tied=False)
    return result


def _stated(score: Score, resampled_here: Interval | None) -> Interval | None:
    """One seed's interval as its record has it, drawn from more resamples; else the one found."""
    if resampled_here is None or not len(score.mious) == len(score.intervals) == 1:
        return resampled_here
    low, high = next(iter(score.intervals.values()))
    return replace(resampled_here, low=low, high=high)


class _Drawn:
    """The results of a row in a column; they are resampled where what is asked is not kept."""

    def __init__(self, results: Sequence[RunResult], metric: str):
        self._results = results
        self._metric = metric
        self.contents = _contents(results)

    @cached_property
    def resampled(self) -> Resampled | None:
        runs = [result.counted for result in self._results]
        return resampled(clustered(runs, metric=self._metric), resamples=RESAMPLES, by_class=False)

    def interval(self) -> tuple[float, ...] | None:
        return astuple(self.resampled.mean) if self.resampled else None


def _contents(results: Sequence[RunResult]) -> list[str]:
    return [result.content for result in results]


def _interval(kept: Sequence[float] | None) -> Interval | None:
    return None if kept is None else Interval(*kept)


def _of_mean(parts: Sequence[_Drawn], kept: Kept) -> Interval | None:
    def compute() -> tuple[float, ...] | None:
        known = [part.resampled for part in parts if part.resampled is not None]
        return astuple(together(known)) if known and len(known) == len(parts) else None

    return _interval(kept.get(["mean", [part.contents for part in parts]], compute))


def _against_best(ordered: list[list[RunResult]], metric: str, kept: Kept) -> dict[int, float]:
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
            key = ["paired", _contents(best), _contents(row)]
            p_values[index] = kept.get(key, partial(_tested, best, row, metric))
    return dict(holm(p_values))


def _tested(best: Sequence[RunResult], row: Sequence[RunResult], metric: str) -> float:
    clusters = clustered([answer.counted for answer in (*best, *row)], metric=metric)
    return p_value(difference(clusters), swapped(clusters, permutations=RESAMPLES))
