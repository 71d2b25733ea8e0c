"""IoU and Dice of every class, a table per domain."""

from statistics import fmean

from ..comparison.current import STALE_LEGEND
from ..comparison.leaderboard import ColumnKey, Leaderboard
from ..comparison.measures import Measures
from ..comparison.row_names import ordered_rows
from .leaderboard_table import title
from .text_table import BLANK, TextTable


def class_tables(board: Leaderboard, measured: Measures) -> list[TextTable]:
    """A table per column of the board: methods by classes, or turned where classes are more."""
    return [_of_column(board, column, measured) for column in board.columns]


def _of_column(board: Leaderboard, column: ColumnKey, measured: Measures) -> TextTable:
    rows = ordered_rows(board, column)
    names = {i: name for row, _ in rows for i, name in row.scores[column].classes.items()}
    by_row = {name: measured[row.key, column].classes for row, name in rows}
    ids = sorted({class_id for classes in by_row.values() for class_id in classes})
    classes = [names.get(class_id, str(class_id)) for class_id in ids]
    grid: list[list[str]] = []
    for found in by_row.values():
        means = [fmean(values) for values in zip(*found.values(), strict=True)]
        cells = [_pair(*found[i]) if i in found else BLANK for i in ids]
        grid.append([*cells, _pair(*means)])
    across, down = [*classes, "mean"], list(by_row)
    corner = "method"
    if len(classes) > len(rows):
        grid = [list(cells) for cells in zip(*grid, strict=True)]
        across, down, corner = down, across, "class"
    notes = ["IoU / Dice in %, counts pooled per class; means over seeds"]
    notes += [STALE_LEGEND] if any(row.scores[column].is_stale for row, _ in rows) else []
    return TextTable(
        title=f"{column.domain} by class · {title(board)}".replace(" mIoU (%)", ""),
        headers=[corner, *across],
        rows=[[name, *cells] for name, cells in zip(down, grid, strict=True)],
        numeric=frozenset(range(1, len(across) + 1)),
        notes=notes,
        outdated=board.outdated,
        whole="report --per-class --wide, or report --per-class -f csv",
    )


def _pair(iou: float, dice: float) -> str:
    return f"{iou:.2f} / {dice:.2f}"
