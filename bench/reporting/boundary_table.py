"""HD95, NSD and boundary IoU, a table per domain."""

from ..comparison.current import STALE_LEGEND
from ..comparison.leaderboard import ColumnKey, Leaderboard
from ..comparison.measures import Measures
from ..comparison.row_names import ordered_rows
from ..statistics.boundaries import BoundarySummary, Summary
from .leaderboard_table import title
from .text_table import BLANK, TextTable

_HEADERS = ["method", "HD95", "NSD", "b. IoU", "undefined"]


def boundary_tables(board: Leaderboard, measured: Measures) -> list[TextTable]:
    """A table per column of a board of mIoU in which a row has boundary measures."""
    columns = {column for (_, column), one in measured.items() if one.boundary is not None}
    return [_of_column(board, c, measured) for c in board.columns if c in columns]


def _of_column(board: Leaderboard, column: ColumnKey, measured: Measures) -> TextTable:
    rows = ordered_rows(board, column)
    found = [(row, name, measured[row.key, column].boundary) for row, name in rows]
    known = [one for _, _, one in found if one is not None]
    shared = {one.nsd_tolerance for one in known}
    lines: list[list[str]] = []
    for _, name, one in found:
        told = f" (NSD at {one.nsd_tolerance:g} px)" if one and len(shared) > 1 else ""
        lines.append([f"{name}{told}", *_cells(one)])
    tolerance = f"NSD at {shared.pop():g} px" if len(shared) == 1 else "NSD"
    notes = [
        "mean / median over the episodes of all seeds in which the measure is defined",
        f"HD95 in pixels of the evaluation grid; {tolerance} and boundary IoU in %",
        "undefined: episodes without HD95 (a mask is empty) / without the others (both are)",
    ]
    if len(known) < len(found):
        notes.append(f"{BLANK} not measured: cdfss-bench run --boundary adds it to a finished run")
    notes += [STALE_LEGEND] if any(row.scores[column].is_stale for row, _, _ in found) else []
    return TextTable(
        title=f"{column.domain}, boundaries · {title(board)}".replace(" mIoU (%)", ""),
        headers=_HEADERS,
        rows=lines,
        numeric=frozenset(range(1, len(_HEADERS))),
        notes=notes,
        outdated=board.outdated,
        whole="report --boundary --wide, or report -f csv",
    )


def _cells(found: BoundarySummary | None) -> list[str]:
    if found is None:
        return [BLANK] * (len(_HEADERS) - 1)
    undefined = f"{found.hd95.undefined} / {found.nsd.undefined} of {found.episodes}"
    return [*map(_pair, (found.hd95, found.nsd, found.boundary_iou)), undefined]


def _pair(found: Summary) -> str:
    both = (found.mean, found.median)
    return " / ".join(BLANK if one is None else f"{one:.2f}" for one in both)
