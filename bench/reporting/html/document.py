"""The report page: leaderboards, charts, paired differences, and where each number comes from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cdfss_bench import __version__
from cdfss_bench.errors import RecordError

from ...comparison.compare import compare
from ...comparison.current import STALE
from ...comparison.leaderboard import Leaderboard, Row, leaderboards
from ...comparison.published import Report, against
from ...comparison.ranking import Standings, standings
from ...records.results import Answer, by_cell, shown
from ..cost_table import cost_table
from ..leaderboard_table import text_table
from ..number_format import UNSTEADY
from ..text_table import BLANK, TextTable
from .charts import cost_charts, legend, score_charts
from .panels import Source, section
from .provenance import origins
from .style import CSS, SCRIPT

PAGE_LIMIT = 2_000_000
"""Bytes; pictures that would exceed them are left out."""
MOST_IN_MATRIX = 12

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Whatever is inside, the browser fetches nothing."""
_PLACE = "<!-- panels {} -->"


def as_html(
    found: Sequence[Answer],
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
    parts = [_header(boards, found)]
    for number, board in enumerate(boards):
        parts.append(
            _board(
                number,
                board,
                found,
                published,
                placeholder=source is not None,
                every_note=every_note,
            )
        )
    page = _page("\n".join(parts), found)
    if source is not None:
        known = by_cell(found)
        for number, board in enumerate(boards):
            left = PAGE_LIMIT - len(page.encode())
            panels = section(
                board,
                _best_first(board),
                known,
                source,
                budget=left // (len(boards) - number),
                prefix=f"b{number}-",
            )
            page = page.replace(_PLACE.format(number), panels, 1)
    return page


def _page(body: str, found: Sequence[Answer]) -> str:
    said = origins(shown(found))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>cdfss-bench leaderboard</title><style>{CSS}</style></head><body>
{body}
<dialog id="box"><h3>Where this number comes from</h3><div id="origins"></div>
<form method="dialog"><button>Close</button></form></dialog>
<script type="application/json" id="provenance">{said}</script>
<script>{SCRIPT}</script></body></html>
"""


def _header(boards: Sequence[Leaderboard], found: Sequence[Answer]) -> str:
    links = "".join(
        f'<a href="#board{i}">{escape(text_table(board).title)}</a>'
        + (f'<a href="#cost{i}">its cost</a>' if _has_cost(board) else "")
        for i, board in enumerate(boards)
    )
    done = sum(answer.record.status == "done" for answer in found)
    return (
        "<h1>Cross-domain few-shot segmentation</h1>"
        f'<p class="dim">{done} finished records, cdfss-bench {escape(__version__)}. Every number '
        "has its origin behind it: click it.</p>"
        f"<nav>{links}</nav>"
    )


def _board(
    number: int,
    board: Leaderboard,
    found: Sequence[Answer],
    published: Sequence[Report] | None,
    *,
    placeholder: bool,
    every_note: bool,
) -> str:
    where = standings(board, found)
    table = text_table(board, where, every_note=every_note)
    parts = [
        f'<section id="board{number}"{" class=outdated" if table.outdated else ""}>',
        f"<h2>{escape(table.title)}</h2>",
        f'<input type="search" placeholder="Filter rows" data-table="t{number}">',
        _table(f"t{number}", table),
        "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes),
        legend(board),
        _cost(number, board, where),
        score_charts(board, where, found),
        _matrix(board, found),
        _PLACE.format(number) if placeholder else "",
    ]
    if published is not None and board.key.suite == "cdfss":
        beside = against(board, published)
        parts.append(f"<details><summary>{escape(beside.title)}</summary>")
        parts.append(_table(f"p{number}", beside))
        parts.append("".join(f'<p class="note">{escape(n)}</p>' for n in beside.notes))
        parts.append("</details>")
    return "\n".join([*parts, "</section>"])


def _has_cost(board: Leaderboard) -> bool:
    return any(row.cost is not None for row in board.rows.values())


def _cost(number: int, board: Leaderboard, where: Standings) -> str:
    """What every row costs; nothing where no record says."""
    if not _has_cost(board):
        return ""
    table = cost_table(board)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return "\n".join(
        [
            f'<h3 id="cost{number}">Cost</h3>',
            cost_charts(board, where),
            _table(f"c{number}", table),
            notes,
            "<h3>Scores</h3>",
        ]
    )


def _table(name: str, table: TextTable) -> str:
    head = "".join(
        f'<th scope="col"{_num(i, table)}><button>{escape(text)}</button></th>'
        for i, text in enumerate(table.headers)
    )
    lines: list[str] = []
    for index, cells in enumerate(table.rows):
        if index in table.sections:
            title = escape(table.sections[index])
            lines.append(
                f'<tr class="section"><td colspan="{len(table.headers)}">{title}</td></tr>'
            )
        drawn = "".join(_cell(table, index, at, text) for at, text in enumerate(cells))
        lines.append(f"<tr>{drawn}</tr>")
    return (
        f'<div class="scroll"><table id="{name}" class="board"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(table: TextTable, index: int, at: int, text: str) -> str:
    names = [table.marks.get((index, at), ""), "grey" if at in table.grey else ""]
    names.append("num" if at in table.numeric else "")
    shown, bracket, rest = text.partition(" [")
    content = escape(shown) + (f"<small>[{escape(rest)}</small>" if bracket else "")
    content = content.replace("@", "<wbr>@")
    cells = " ".join(cell[:16] for cell in table.behind.get((index, at), ()))
    if cells and shown != BLANK:
        content = f'<button data-cells="{cells}">{content}</button>'
    value = _sorted_as(shown)
    classes = " ".join(filter(None, names))
    return f'<td class="{classes}" data-value="{escape(value)}">{content}</td>'


def _sorted_as(text: str) -> str:
    """By what a cell is sorted: 1.15 M lies above 412 k, marks and `±` count nothing."""
    number, _, unit = text.lstrip(f"≈{UNSTEADY}").partition(" ")
    number = number.rstrip(STALE)
    if unit not in ("k", "M"):
        return number
    return f"{float(number) * {'k': 1e3, 'M': 1e6}[unit]:.0f}"


def _num(index: int, table: TextTable) -> str:
    return ' class="num"' if index in table.numeric else ""


def _matrix(board: Leaderboard, found: Sequence[Answer]) -> str:
    """Mean paired differences, row minus column; coloured where they are significant."""
    known_cells = by_cell(found)
    rows = sorted(board.rows.values(), key=lambda row: -(board.mean(row) or 0))[:MOST_IN_MATRIX]
    rows = [row for row in rows if row.scores]
    if len(rows) < 2:
        return ""
    sides = [
        [known_cells[cell] for score in row.scores.values() for cell in score.cells.values()]
        for row in rows
    ]
    names = [escape(row.key.label) + (STALE if _has_stale(row) else "") for row in rows]
    head = "".join(f'<th class="num">{name}</th>' for name in names)
    lines: list[str] = []
    known: dict[tuple[int, int], tuple[str, str, str]] = {}
    for i in range(len(rows)):
        for j in range(i):
            text, p, verdict = _paired(sides[i], sides[j])
            known[i, j] = (text, p, verdict)
            turned = {"A is better": "B is better", "B is better": "A is better"}
            swap = text.replace("+", "~").replace("-", "+").replace("~", "-")
            known[j, i] = (swap, p, turned.get(verdict, verdict))
    for i in range(len(rows)):
        cells = "".join(
            '<td class="num dim">·</td>' if i == j else _difference(*known[i, j])
            for j in range(len(rows))
        )
        lines.append(f"<tr><th>{names[i]}</th>{cells}</tr>")
    return (
        "<h3>Paired differences</h3>"
        '<p class="note">Row minus column in points of mIoU, over the domains that both answered; '
        "coloured where the sign-flip test and the declared minimum allow a claim.</p>"
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _has_stale(row: Row) -> bool:
    return any(score.is_stale for score in row.scores.values())


def _paired(a: Sequence[Answer], b: Sequence[Answer]) -> tuple[str, str, str]:
    try:
        (comparison,) = compare(a, b, resamples=2_000)
    except RecordError as error:
        return BLANK, error.problem, ""
    last = comparison.differences[-1]
    return f"{last.a - last.b:+.2f}", f"p = {last.p_holm:.4f}, {last.domain}", last.verdict


def _difference(text: str, tip: str, verdict: str) -> str:
    name = {"A is better": "won", "B is better": "lost"}.get(verdict, "")
    return f'<td class="num {name}" title="{escape(tip)}">{escape(text)}</td>'


def _best_first(board: Leaderboard) -> list[Row]:
    """Rows by their mean, those without one last."""
    rows = [row for section in board.sections() for row in section.rows if row.scores]
    return sorted(rows, key=lambda row: -(board.mean(row) or 0))
