"""The report page: leaderboards, charts, paired differences, and where each number comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cdfss_bench import __version__

from ...comparison.conclusions import conclusions
from ...comparison.current import by_cell
from ...comparison.gathering import leaderboards
from ...comparison.leaderboard import BY_MEAN, Arrangement, BoardKey, Leaderboard
from ...comparison.published import Report
from ...comparison.ranking import standings
from ...records.results import RunResult
from ..columns import narrowed
from ..concluded_table import compared_table
from ..cost_table import cost_table
from ..leaderboard_table import text_table
from ..published_table import published_table
from .charts import class_charts, colors_of, interval_charts
from .matrix import matrix_of
from .paging import Paged, paged
from .panels import Source, section
from .pareto import pareto
from .rendering import render
from .tables import controls_in, legend_of, rows_of, side_by_side, table_of

PAGE_LIMIT = 2_000_000
"""Bytes of a page: rows beyond stand on further pages, pictures beyond are left out."""
MOST_DRAWN = 30
"""Rows of a board in its charts, the first of its table."""


def as_html(
    found: Sequence[RunResult],
    published: Sequence[Report] | None = None,
    source: Source | None = None,
    **options: Any,
) -> str:
    """The whole report as one self-contained page, however long; arguments as of `as_pages`."""
    return as_pages(found, published, source, name="", **options)[""]


def as_pages(
    found: Sequence[RunResult],
    published: Sequence[Report] | None = None,
    source: Source | None = None,
    *,
    every_note: bool = False,
    arrangement: Arrangement = BY_MEAN,
    name: str = "index.html",
    gallery: str = "",
) -> dict[str, str]:
    """The report as self-contained pages of at most 2 MB, by the names of their files.

    The first page has the first rows of every table, the charts, and what can be concluded; rows
    that do not fit stand on pages named NAME-2.html, NAME-3.html, ...

    Args:
        found: records with their rows.
        published: what papers report, if it shall stand beside.
        source: draws single episodes, if they shall be shown: as many as fit into 2 MB, each
            board having an equal share of what is left.
        every_note: whether each note of the records stands below its table, or two lines a row.
        arrangement: of rows and columns.
        name: of the first page; empty for a single one of any length.
        gallery: address of the gallery of all episodes, relative to the pages.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    boards = leaderboards((answer.record for answer in found), arrangement)
    known = by_cell(found)
    shown = {board.key: _board(board, known, published, every_note=every_note) for board in boards}
    page: dict[str, Any] = {
        "version": __version__,
        "done": sum(answer.record.status == "done" for answer in found),
        "groups": [_group(group, shown) for group in _grouped(boards)],
        "gallery": gallery,
    }
    pages = paged(page, known.values(), name, PAGE_LIMIT if name else None)
    if source is not None:
        _add_episodes(pages[0], boards, shown, known, source)
    return {each.name: each.text for each in pages}


def _add_episodes(
    first: Paged,
    boards: Sequence[Leaderboard],
    shown: dict[BoardKey, dict[str, Any]],
    known: Mapping[str, RunResult],
    source: Source,
) -> None:
    """Put pictures of single episodes on the first page."""
    used = len(first.text.encode())
    for number, board in enumerate(boards):
        budget = (PAGE_LIMIT - used) // (len(boards) - number)
        rows = [row for row in rows_of(board) if row.scores]
        rows.sort(key=lambda row: -(board.mean(row) or 0))
        episodes, size = section(board, rows, known, source, budget=budget, prefix=f"b{number}-")
        shown[board.key]["episodes"] = episodes
        used += size
    first.text = render("report.html.j2", **first.page)


def _grouped(boards: Sequence[Leaderboard]) -> list[list[Leaderboard]]:
    """Boards that differ in nothing but their shots, fewer shots first."""
    groups: dict[BoardKey, list[Leaderboard]] = {}
    for board in boards:
        groups.setdefault(board.key._replace(shots=0), []).append(board)
    return list(groups.values())


def _group(
    boards: Sequence[Leaderboard], shown: Mapping[BoardKey, dict[str, Any]]
) -> dict[str, Any]:
    parts = [shown[board.key] for board in boards]
    side = side_by_side(boards, [part["table"] for part in parts]) if len(boards) > 1 else None
    shots = " and ".join(part["shots"] for part in parts)
    return {
        "title": parts[0]["table"]["title"].replace(parts[0]["shots"], shots, 1),
        "side": side,
        "legend": legend_of(side) if side else [],
        "boards": parts,
    }


def _board(
    board: Leaderboard,
    known: dict[str, RunResult],
    published: Sequence[Report] | None,
    *,
    every_note: bool,
) -> dict[str, Any]:
    where, rows = standings(board, known), rows_of(board)
    methods_first = sorted(rows, key=lambda row: row.is_control)
    drawn = replace(board, rows={row.key: row for row in methods_first[:MOST_DRAWN]})
    colors = colors_of(drawn)
    cost = None
    if any(row.cost is not None for row in board.rows.values()):
        spent = table_of(cost_table(board), controls_in(rows))
        cost = {"charts": pareto(drawn, where, colors), "table": spent}
    beside = None
    if published is not None and board.key.suite == "cdfss":
        beside = table_of(published_table(board, published))
    found = conclusions(board, known, where)
    whole = text_table(board, where, every_note=every_note)
    table = table_of(narrowed(whole, board.arrangement.columns), controls_in(rows))
    return {
        "shots": f"{board.key.shots}-shot",
        "table": table,
        "marks": legend_of(table),
        "conclusions": found.sentences,
        "compared": compared_table(found),
        "legend": [(color, key.label) for key, color in colors.items()],
        "undrawn": len(rows) - len(drawn.rows),
        "cost": cost,
        "intervals": interval_charts(drawn, where, colors),
        "classes": class_charts(drawn, colors, known),
        "matrix": matrix_of(methods_first, known),
        "episodes": None,
        "published": beside,
    }
