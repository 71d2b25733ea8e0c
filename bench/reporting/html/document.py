"""The report page: leaderboards, charts, paired differences, and where each number comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdfss_bench import __version__
from cdfss_bench.errors import RecordError

from ...comparison.compare import compare
from ...comparison.current import STALE, by_cell, shown
from ...comparison.leaderboard import Leaderboard, Row, leaderboards
from ...comparison.published import Report
from ...comparison.ranking import standings
from ...records.results import RunResult
from ..cost_table import cost_table
from ..leaderboard_table import text_table
from ..number_format import UNSTEADY
from ..published_table import published_table
from ..text_table import BLANK, TextTable
from .charts import class_charts, colors_of, interval_charts
from .panels import Source, section
from .pareto import pareto
from .provenance import origins
from .rendering import render

PAGE_LIMIT = 2_000_000
"""Bytes; pictures that would exceed them are left out."""
MOST_IN_MATRIX = 12


def as_html(
    found: Sequence[RunResult],
    published: Sequence[Report] | None = None,
    source: Source | None = None,
    *,
    every_note: bool = False,
) -> str:
    """The whole report, self-contained.

    Args:
        found: records with their rows.
        published: what papers report, if it shall stand beside.
        source: draws single episodes, if they shall be shown: as many as fit into 2 MB, each
            board having an equal share of what is left.
        every_note: whether each note of the records stands below its table, or two lines a row.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    boards = leaderboards(answer.record for answer in found)
    page: dict[str, Any] = {
        "version": __version__,
        "done": sum(answer.record.status == "done" for answer in found),
        "boards": [_board(board, found, published, every_note=every_note) for board in boards],
        "origins": origins(shown(found)),
    }
    text = render("report.html.j2", **page)
    if source is None:
        return text
    known = by_cell(found)
    used = len(text.encode())
    for number, board in enumerate(boards):
        budget = (PAGE_LIMIT - used) // (len(boards) - number)
        episodes, size = section(
            board, _best_first(board), known, source, budget=budget, prefix=f"b{number}-"
        )
        page["boards"][number]["episodes"] = episodes
        used += size
    return render("report.html.j2", **page)


def _board(
    board: Leaderboard,
    found: Sequence[RunResult],
    published: Sequence[Report] | None,
    *,
    every_note: bool,
) -> dict[str, Any]:
    where, colors = standings(board, found), colors_of(board)
    cost = None
    if any(row.cost is not None for row in board.rows.values()):
        cost = {"charts": pareto(board, where, colors), "table": _table(cost_table(board))}
    beside = None
    if published is not None and board.key.suite == "cdfss":
        beside = _table(published_table(board, published))
    return {
        "table": _table(text_table(board, where, every_note=every_note)),
        "legend": [(colors[key], key.label) for key in board.rows],
        "cost": cost,
        "intervals": interval_charts(board, where, colors),
        "classes": class_charts(board, colors, found),
        "matrix": _matrix(board, found),
        "episodes": None,
        "published": beside,
    }


def _table(table: TextTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "notes": table.notes,
        "outdated": table.outdated,
        "headers": [(text, at in table.numeric) for at, text in enumerate(table.headers)],
        "rows": [
            (
                table.sections.get(row),
                [_cell(table, row, at, text) for at, text in enumerate(cells)],
            )
            for row, cells in enumerate(table.rows)
        ],
    }


def _cell(table: TextTable, row: int, at: int, text: str) -> dict[str, str]:
    names = [table.marks.get((row, at), ""), "grey" if at in table.grey else ""]
    names.append("num" if at in table.numeric else "")
    shown, bracket, rest = text.partition(" [")
    behind = () if shown == BLANK else table.behind.get((row, at), ())
    return {
        "classes": " ".join(filter(None, names)),
        "value": _sorted_as(shown),
        "text": shown,
        "range": f"[{rest}" if bracket else "",
        "origins": " ".join(cell[:16] for cell in behind),
    }


def _sorted_as(text: str) -> str:
    """By what a cell is sorted: 1.15 M lies above 412 k, marks and `±` count nothing."""
    number, _, unit = text.lstrip(f"≈{UNSTEADY}").partition(" ")
    number = number.rstrip(STALE)
    if unit not in ("k", "M"):
        return number
    return f"{float(number) * {'k': 1e3, 'M': 1e6}[unit]:.0f}"


def _matrix(board: Leaderboard, found: Sequence[RunResult]) -> list[tuple[str, list[Any]]]:
    """Names of rows and mean paired differences, row minus column: None of a row and itself."""
    known = by_cell(found)
    rows = sorted(board.rows.values(), key=lambda row: -(board.mean(row) or 0))[:MOST_IN_MATRIX]
    rows = [row for row in rows if row.scores]
    if len(rows) < 2:
        return []
    sides = [
        [known[cell] for score in row.scores.values() for cell in score.cells.values()]
        for row in rows
    ]
    cells: list[list[Any]] = [[None] * len(rows) for _ in rows]
    for i in range(len(rows)):
        for j in range(i):
            cells[i][j], cells[j][i] = _paired(sides[i], sides[j])
    return [
        (row.key.label + (STALE if _has_stale(row) else ""), line)
        for row, line in zip(rows, cells, strict=True)
    ]


def _has_stale(row: Row) -> bool:
    return any(score.is_stale for score in row.scores.values())


def _paired(a: Sequence[RunResult], b: Sequence[RunResult]) -> list[tuple[str, str, str]]:
    """Text, tip and class of `a` minus `b`, and of `b` minus `a`."""
    try:
        (comparison,) = compare(a, b, resamples=2_000)
    except RecordError as error:
        return [(BLANK, error.problem, "")] * 2
    last = comparison.differences[-1]
    names = {"A is better": ("won", "lost"), "B is better": ("lost", "won")}
    tip = f"p = {last.p_holm:.4f}, {last.domain}"
    return [
        (f"{sign * (last.a - last.b):+.2f}", tip, name)
        for sign, name in zip((1, -1), names.get(last.verdict, ("", "")), strict=True)
    ]


def _best_first(board: Leaderboard) -> list[Row]:
    """Rows by their mean, those without one last."""
    rows = [row for section in board.sections() for row in section.rows if row.scores]
    return sorted(rows, key=lambda row: -(board.mean(row) or 0))
