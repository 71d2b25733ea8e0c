"""Names that tell the rows of a leaderboard apart where there are no further columns."""

from collections import Counter

from .current import STALE
from .leaderboard import ColumnKey, Leaderboard, RowKey
from .rows import Row


def row_names(board: Leaderboard) -> dict[RowKey, str]:
    """The method, with its backbone and weights where several rows are of one method."""
    labels = Counter(key.label for key in board.rows)
    pairs = Counter((key.label, key.backbone) for key in board.rows)
    names: dict[RowKey, str] = {}
    for key in board.rows:
        parts = [key.label]
        if labels[key.label] > 1:
            parts += [key.backbone]
        if pairs[key.label, key.backbone] > 1:
            parts += [key.weights, key.selection, key.weights_sha256[:6]]
        names[key] = " · ".join(filter(None, parts))
    return names


def ordered_rows(board: Leaderboard, column: ColumnKey) -> list[tuple[Row, str]]:
    """The rows with a score in a column, the highest first, and their names."""
    names = row_names(board)
    rows = [row for row in board.rows.values() if column in row.scores]
    rows.sort(key=lambda row: -row.scores[column].mean)
    return [(row, names[row.key] + (STALE if row.scores[column].is_stale else "")) for row in rows]
