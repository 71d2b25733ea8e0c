"""Who stands where in a column: interval, rank, and who cannot be told from the best."""

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
SHORTEST = Interval(0.0, 0.0, 0.0, 0.0)
"""Stands for an interval that is not computed; no other is written in fewer characters."""


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
        untested: whether so many rows are compared with the best that none can be shown to be
            worse; then all of them are tied.
        control: how it does against its shuffled-support control; None where that is not there.
    """

    interval: Interval | None
    rank: int | None
    tied: bool
    worse: bool = False
    untested: bool = False
    control: AgainstControl | None = None


Standings = Mapping[tuple[RowKey, ColumnKey | None], Standing]
"""By row and column; None is the mean over the domains."""


def most_tested() -> int:
    """How many rows can be shown to be worse than the best of their section.

    The least p is 1 / (RESAMPLES + 1), and Holm's rule takes it times the number of rows: of more
    rows none reaches ALPHA, whatever the tests give.
    """
    return int(ALPHA * (RESAMPLES + 1))


def standings(board: Leaderboard, found: Found, *, intervals: bool = True) -> Standings:
    """Where every row stands in every column, from the rows of the records.

    Intervals, ties and tests against controls exist of the metrics that pool counts by class, mIoU
    and Dice; of others there are ranks alone. What was computed of the same rows before is not
    computed again (`Kept`).

    Args:
        board: whose rows are ranked.
        found: all results, or those that the board shows by cell, as `by_cell` gives them.
        intervals: whether they are wanted, which take most of the time; without them `SHORTEST`
            stands where one exists.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    known = by_cell(found)
    with Kept("standings", board.metric, *map(str, board.key)) as kept:
        return _standings(board, known, kept, intervals=intervals)


def _standings(
    board: Leaderboard, known: dict[str, RunResult], kept: Kept, *, intervals: bool
) -> Standings:
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
            worse: dict[int, bool] = {}
            if is_pooled:
                worse = _worse_than_best([answers[row.key] for row in ranked], board.metric, kept)
            for place, row in enumerate(rows):
                interval = None
                if is_pooled:
                    score, of_row = row.scores[column], answers[row.key]
                    is_left = not intervals and not score.is_stale and _exists(of_row)
                    own = drawn[row.key, column] = _Drawn(of_row, board.metric, is_left=is_left)
                    if is_left:
                        interval = SHORTEST
                    else:
                        again = _interval(kept.get(["resampled", own.contents], own.interval))
                        interval = _stated(score, again)
                result[row.key, column] = Standing(
                    interval,
                    place + 1 if place < len(ranked) else None,
                    tied=worse.get(place) is False,
                    worse=worse.get(place, False),
                    untested=place in worse and len(worse) > most_tested(),
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


def _exists(results: Sequence[RunResult]) -> bool:
    """Whether records of the installed code say that their rows have an interval together."""
    said = [result.record.metrics for result in results]
    classes = {frozenset(one.per_class) for one in said if one is not None and one.miou_interval}
    return len(classes) == 1 and all(one is not None and one.miou_interval for one in said)


class _Drawn:
    """The results of a row in a column; they are resampled where what is asked is not kept."""

    def __init__(self, results: Sequence[RunResult], metric: str, *, is_left: bool):
        self._results = results
        self._metric = metric
        self.is_left = is_left

    @cached_property
    def contents(self) -> list[str]:
        return _contents(self._results)

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
    if parts and all(part.is_left for part in parts):
        return SHORTEST

    def compute() -> tuple[float, ...] | None:
        known = [part.resampled for part in parts if part.resampled is not None]
        return astuple(together(known)) if known and len(known) == len(parts) else None

    return _interval(kept.get(["mean", [part.contents for part in parts]], compute))


def _worse_than_best(ordered: list[list[RunResult]], metric: str, kept: Kept) -> dict[int, bool]:
    """By place of a row, the best first, whether the paired test shows that it is worse.

    p is adjusted by Holm's rule; rows that were not asked the same episodes are not there.
    """
    if not ordered:
        return {}
    best, *others = ordered
    episodes = [answer.record.episodes.sha256 for answer in best]
    # Other seeds or a control's other supports: not paired, so nothing is said.
    paired = {
        index: row
        for index, row in enumerate(others, 1)
        if [answer.record.episodes.sha256 for answer in row] == episodes
    }
    if len(paired) > most_tested():
        return dict.fromkeys(paired, False)
    p_values = {
        index: kept.get(
            ["paired", _contents(best), _contents(row)], partial(_tested, best, row, metric)
        )
        for index, row in paired.items()
    }
    return {index: p <= ALPHA for index, p in holm(p_values).items()}


def _tested(best: Sequence[RunResult], row: Sequence[RunResult], metric: str) -> float:
    clusters = clustered([answer.counted for answer in (*best, *row)], metric=metric)
    return p_value(difference(clusters), swapped(clusters, permutations=RESAMPLES))
