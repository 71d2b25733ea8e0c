"""Every metric of what a leaderboard shows, computed from the rows of its records.

Records state mIoU, FB-IoU and macro IoU; the others follow from the same integer counts, of records
of any age.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from ..records.results import RunResult
from ..statistics.bootstrap import Interval, resampled
from ..statistics.boundaries import BoundarySummary, summarised
from ..statistics.clusters import clustered
from ..statistics.metrics import METRICS, Metrics, measure
from .current import Found, by_cell
from .leaderboard import ColumnKey, Leaderboard, RowKey
from .ranking import RESAMPLES
from .rows import Score


@dataclass(frozen=True)
class Measured:
    """All metrics of one row in one column, means over its seeds.

    Attributes:
        values: by the names of `METRICS`, in percent.
        dice_interval: 95 %, over query images; None where they are too few.
        classes: IoU and Dice in percent, by class id.
        boundary: of the episodes of all seeds; None where not all of them were measured alike.
    """

    values: Mapping[str, float]
    dice_interval: Interval | None
    classes: Mapping[int, tuple[float, float]]
    boundary: BoundarySummary | None


Measures = Mapping[tuple[RowKey, ColumnKey], Measured]
"""By row and column."""


def measures(board: Leaderboard, found: Found, *, intervals: bool = True) -> Measures:
    """All metrics of every row in every column.

    Args:
        board: what is shown.
        found: all results, or those that it shows, with their rows.
        intervals: whether that of Dice is wanted, which takes most of the time.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    known = by_cell(found)
    return {
        (key, column): _measured(
            [known[cell] for _, cell in sorted(score.cells.items())], intervals=intervals
        )
        for key, row in board.rows.items()
        for column, score in row.scores.items()
    }


def in_metric(board: Leaderboard, metric: str, found: Found) -> Leaderboard:
    """The same board with another metric in the place of mIoU.

    Args:
        board: of mIoU.
        metric: one of `METRICS`.
        found: all results, or those that it shows, with their rows.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    if metric == board.metric:
        return board
    known = by_cell(found)
    rows = {
        key: replace(
            row,
            scores={
                column: _in_metric(score, metric, known) for column, score in row.scores.items()
            },
        )
        for key, row in board.rows.items()
    }
    return replace(board, metric=metric, rows=rows)


def _in_metric(score: Score, metric: str, known: Mapping[str, RunResult]) -> Score:
    of_seed = {seed: metrics_of(known[cell]) for seed, cell in score.cells.items()}
    per_class: dict[int, list[float]] = {}
    for one in of_seed.values():
        for class_id, value in one.classes(metric).items():
            per_class.setdefault(class_id, []).append(value)
    values = {seed: one.value(metric) for seed, one in of_seed.items()}
    return replace(score, mious=values, intervals={}, per_class=per_class)


def _measured(results: list[RunResult], *, intervals: bool) -> Measured:
    of_seed = [metrics_of(one) for one in results]
    dice_interval = None
    if intervals:
        clusters = clustered([one.counted for one in results], metric="dice")
        again = resampled(clusters, resamples=RESAMPLES)
        dice_interval = again.mean if again else None
    classes: dict[int, tuple[float, float]] = {}
    for class_id in sorted({c for one in of_seed for c in one.per_class}):
        asked = [one for one in of_seed if class_id in one.per_class]
        classes[class_id] = (
            fmean(one.per_class[class_id] for one in asked),
            fmean(one.dice_per_class[class_id] for one in asked),
        )
    return Measured(
        {name: fmean(one.value(name) for one in of_seed) for name in METRICS},
        dice_interval,
        classes,
        summarised([found for one in results for found in one.counted.boundaries]),
    )


def metrics_of(result: RunResult) -> Metrics:
    """The metrics of a result, from its rows.

    Raises:
        RecordError: if rows are damaged or missing.
    """
    return measure(result.counted.asked.class_ids, result.counted.counts)
