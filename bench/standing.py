"""Who stands where in a column: interval, rank, and who cannot be told from the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .answers import Answer
from .bootstrap import Interval, Resampled, resampled, together
from .clusters import clustered
from .leaderboard import ColumnKey, Leaderboard, Row, RowKey, Score
from .permutation import difference, holm, p_value, swapped
from .twins import AgainstTwin, against_twins

RESAMPLES = 2_000
"""For tables, which show one decimal of an interval; `compare` takes 10,000."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One row in one column.

    Attributes:
        interval: 95 %, over query images; None where they are too few or the rows are not there.
        rank: among the rows of the same section, 1 is the best.
        tied: whether it cannot be told from the best of its section: the paired test, adjusted by
            Holm's rule for all rows of the column, does not reach 5 %.
        twin: how it does against its twin with shuffled supports; None where that is not there.
    """

    interval: Interval | None
    rank: int
    tied: bool
    twin: AgainstTwin | None = None


Standings = Mapping[tuple[RowKey, ColumnKey | None], Standing]
"""By row and column; None is the mean over the domains."""


def standings(board: Leaderboard, found: Iterable[Answer]) -> Standings:
    """Where every row stands in every column, from the rows of the records.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    by_cell = {answer.record.cell: answer for answer in found}
    twins = against_twins(board, by_cell.values())
    result: dict[tuple[RowKey, ColumnKey | None], Standing] = {}
    replicates: dict[tuple[RowKey, ColumnKey], Resampled | None] = {}
    for column in board.columns:
        for section in board.sections():
            rows = [row for row in section.rows if column in row.scores]
            rows.sort(key=lambda row: -row.scores[column].mean)
            answers = {
                row.key: [by_cell[c] for _, c in sorted(row.scores[column].cells.items())]
                for row in rows
            }
            tied = _tied([answers[row.key] for row in rows])
            for rank, (row, ties) in enumerate(zip(rows, tied, strict=True), 1):
                again = resampled(
                    clustered([answer.rows for answer in answers[row.key]]), resamples=RESAMPLES
                )
                replicates[row.key, column] = again
                interval = _stated(row.scores[column], again.mean if again else None)
                result[row.key, column] = Standing(
                    interval, rank, ties, twins.get((row.key, column))
                )
    for section in board.sections():
        ranked = [(mean, row) for row in section.rows if (mean := board.mean(row)) is not None]
        ranked.sort(key=lambda pair: -pair[0])
        for rank, (_, row) in enumerate(ranked, 1):
            interval = _of_mean(row, board, replicates)
            result[row.key, None] = Standing(interval, rank, tied=False)
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


def _tied(ordered: list[list[Answer]]) -> list[bool]:
    """Of each row, best first, whether the best cannot be told from it."""
    if not ordered:
        return []
    best, *others = ordered
    episodes = [answer.record.episodes.sha256 for answer in best]
    p_values: dict[int, float] = {}
    for index, row in enumerate(others, 1):
        # Other seeds or a control's other supports: not paired, so nothing is said.
        if [answer.record.episodes.sha256 for answer in row] == episodes:
            clusters = clustered([answer.rows for answer in (*best, *row)])
            under_null = swapped(clusters, permutations=RESAMPLES)
            p_values[index] = p_value(difference(clusters), under_null)
    adjusted = holm(p_values)
    return [False, *(adjusted.get(index, 0.0) > 0.05 for index in range(1, len(ordered)))]
