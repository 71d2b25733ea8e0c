"""Does a method need its support: each against its twin, who is shown supports of a wrong class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .answers import Answer
from .clusters import clustered
from .leaderboard import ColumnKey, Leaderboard, Row, RowKey, Score
from .permutation import difference, holm, p_value, swapped

TWIN = "@shuffled-support"
PERMUTATIONS = 2_000
ALPHA = 0.05


class AgainstTwin(NamedTuple):
    """A row against its twin in one column.

    Attributes:
        points: its mIoU minus the twin's, on the seeds that both answered.
        p: of the sign-flip test over query images, adjusted by Holm's rule for the row's columns.
    """

    points: float
    p: float

    @property
    def is_beaten(self) -> bool:
        """Whether the right support is shown to help."""
        return self.points > 0 and self.p <= ALPHA


def against_twins(
    board: Leaderboard, found: Iterable[Answer]
) -> dict[tuple[RowKey, ColumnKey], AgainstTwin]:
    """Every row that has a twin on the board against it, column by column.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    by_cell = {answer.record.cell: answer for answer in found}
    result: dict[tuple[RowKey, ColumnKey], AgainstTwin] = {}
    for row, twin in twins_of(board):
        tested: dict[ColumnKey, tuple[float, float]] = {}
        for column, score in row.scores.items():
            if column in twin.scores:
                pairs = _pairs(score, twin.scores[column], by_cell)
                if pairs:
                    ours, theirs = ([pair[i].rows for pair in pairs] for i in (0, 1))
                    clusters = clustered([*ours, *theirs])
                    under_null = swapped(
                        clusters, permutations=PERMUTATIONS, stream=f"{column.domain}{TWIN}"
                    )
                    points = difference(clusters)
                    tested[column] = points, p_value(points, under_null)
        adjusted = holm({column: p for column, (_, p) in tested.items()})
        for column, (points, _) in tested.items():
            result[row.key, column] = AgainstTwin(points, adjusted[column])
    return result


def twins_of(board: Leaderboard) -> list[tuple[Row, Row]]:
    """(row, its twin) for every row whose twin, on the same weights, is on the board."""
    rows = {
        (key.composition, key.backbone, key.weights_sha256, key.selection): row
        for key, row in board.rows.items()
    }
    pairs: list[tuple[Row, Row]] = []
    for key, row in board.rows.items():
        composition = f"{key.composition}{TWIN}"
        twin = rows.get((composition, key.backbone, key.weights_sha256, key.selection))
        if twin is not None:
            pairs.append((row, twin))
    return pairs


def _pairs(
    ours: Score, theirs: Score, by_cell: Mapping[str, Answer]
) -> list[tuple[Answer, Answer]]:
    """Answers of the seeds that both have, as far as they ask the same queries."""
    pairs = [
        (by_cell[ours.cells[seed]], by_cell[theirs.cells[seed]])
        for seed in sorted(ours.cells.keys() & theirs.cells.keys())
    ]
    return [(a, b) for a, b in pairs if a.asked == b.asked]
