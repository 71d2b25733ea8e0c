"""A table of text as the page's templates take it: cells with their marks and what is behind."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...comparison.current import STALE
from ...comparison.leaderboard import Leaderboard, RowKey, missing_columns
from ...comparison.rows import CONTROL, Row
from ..columns import spoken
from ..number_format import UNSTEADY
from ..text_table import BLANK, TextTable

MOST_BEHIND = 100
"""Records that are listed behind one number; of more their number stands."""
MOST_NOTES = 200
"""Notes below a table; of more their number stands."""
_LEGEND = {
    "best": ("best", "12.34", "best of its section"),
    "second": ("second", "12.34", "second of its section"),
    "tied": ("tied", "≈12.34", "no significant difference from the best (paired, Holm, 5 %)"),
    "grey": ("grey", "12.34", "compared with nothing: another population or fewer episodes"),
}


def table_of(table: TextTable, controls: Collection[int] = ()) -> dict[str, Any]:
    """What the macro `table` shows; rows of the indices `controls` are folded."""
    lines = [
        (
            table.sections.get(row),
            row in controls,
            [_cell(table, row, at, text) for at, text in enumerate(cells)],
        )
        for row, cells in enumerate(table.rows)
    ]
    return {
        "title": table.title,
        "notes": _first_notes(table.notes),
        "outdated": table.outdated,
        "over": [],
        "headers": [(text, at in table.numeric) for at, text in enumerate(table.headers)],
        "rows": lines,
        "controls": len(controls),
        "part": "",
    }


def _first_notes(notes: Sequence[str]) -> Sequence[str]:
    more = len(notes) - MOST_NOTES
    if more <= 0:
        return notes
    return [*notes[:MOST_NOTES], f"and {more} more notes: cdfss-bench report --notes"]


def controls_in(rows: Sequence[Row]) -> set[int]:
    """Which rows are folded: controls, unless there is nothing else."""
    found = {at for at, row in enumerate(rows) if row.is_control}
    return found if len(found) < len(rows) else set()


def rows_of(board: Leaderboard) -> list[Row]:
    """The rows of a board in the order of its tables."""
    return [row for section in board.sections() for row in section.rows]


def side_by_side(
    boards: Sequence[Leaderboard], tables: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Boards of one suite and protocol as one table: scores and means of all shots side by side.

    `tables` are theirs, as `table_of` gives them.
    """
    keys = [[row.key for row in rows_of(board)] for board in boards]
    spans = [_scores_of(board, table) for board, table in zip(boards, tables, strict=True)]
    left = [at for at, (text, _) in enumerate(tables[0]["headers"]) if text in _LEFT]
    found: list[tuple[str | None, bool, list[Any]]] = []
    seen: set[RowKey] = set()
    for own, table in zip(keys, tables, strict=True):
        section: str | None = None
        for key, (title, is_control, cells) in zip(own, table["rows"], strict=True):
            section = title if title is not None else section
            if key in seen:
                continue
            seen.add(key)
            line = [cells[at] for at in left]
            for others, other, span in zip(keys, tables, spans, strict=True):
                here = other["rows"][others.index(key)][2] if key in others else None
                line += [here[at] if here else _EMPTY for at in span]
            found.append((section, is_control, line))
            section = None
    over = [
        ("", len(left)),
        *((f"{b.key.shots}-shot", len(s)) for b, s in zip(boards, spans, strict=True)),
    ]
    headers = [t["headers"][at] for t, span in zip(tables, spans, strict=True) for at in span]
    return {
        "title": "",
        "notes": [],
        "outdated": tables[0]["outdated"],
        "over": over,
        "headers": [*(tables[0]["headers"][at] for at in left), *headers],
        "rows": _told_once(found),
        "controls": sum(is_control for _, is_control, _ in found),
        "part": "",
    }


def _told_once(rows: Sequence[tuple[str | None, bool, list[Any]]]) -> list[Any]:
    """Rows by section: those that only a later board has join the section of the others."""
    sections: dict[str, list[Any]] = {}
    current = ""
    for title, is_control, cells in rows:
        current = title if title is not None else current
        sections.setdefault(current, []).append((is_control, cells))
    return [
        ((title or None) if at == 0 else None, is_control, cells)
        for title, lines in sections.items()
        for at, (is_control, cells) in enumerate(lines)
    ]


_LEFT = ("method", "backbone")


def _scores_of(board: Leaderboard, table: Mapping[str, Any]) -> list[int]:
    """The columns of the domains and of the mean."""
    names = {*(column.domain for column in board.columns), *missing_columns(board), "mean"}
    return [at for at, (text, _) in enumerate(table["headers"]) if spoken(text) in names]


def legend_of(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(class, sample, meaning) of every mark that a table has."""
    cells = [cell for _, _, line in table["rows"] for cell in line]
    used = {name for cell in cells for name in cell["classes"].split()}
    found = [told for name, told in _LEGEND.items() if name in used]
    if any(cell["range"] for cell in cells):
        found.append(("range", "[10.1, 14.6]", "95 % interval over query images"))
    if any("±" in cell["text"] for cell in cells):
        found.append(("", "±1.23", "standard deviation over seeds"))
    if any(cell["text"].endswith(STALE) for cell in cells):
        found.append(("", f"12.34{STALE}", "computed by older code, ranked with nobody"))
    if any("*" in cell["text"] for cell in cells):
        found.append(("", "12.34*", "mean over fewer episodes than the protocol has"))
    if any(text.endswith("*") for text, _ in table["headers"]):
        found.append(("", "isic*", "fewer episodes, or not all of the data (see the notes)"))
    if any(cell["text"] == BLANK for cell in cells):
        found.append(("", BLANK, "no number; the notes say why"))
    if any(CONTROL in cell["text"] for cell in cells):
        found.append(("", CONTROL, "the method, shown supports of a wrong class"))
    return found


_EMPTY: dict[str, str] = {
    "classes": "num", "value": "", "text": BLANK, "range": "", "origins": "", "more": "",
}  # fmt: skip


def _cell(table: TextTable, row: int, at: int, text: str) -> dict[str, str]:
    names = [table.marks.get((row, at), ""), "grey" if at in table.grey else ""]
    names.append("num" if at in table.numeric else "")
    shown, bracket, rest = text.partition(" [")
    behind = () if shown == BLANK else table.behind.get((row, at), ())
    more = len(behind) - MOST_BEHIND
    return {
        "classes": " ".join(filter(None, names)),
        "value": _sorted_as(shown),
        "text": shown,
        "range": f"[{rest}" if bracket else "",
        "origins": " ".join(cell[:16] for cell in behind[:MOST_BEHIND]),
        "more": str(more) if more > 0 else "",
    }


def _sorted_as(text: str) -> str:
    """By what a cell is sorted: 1.15 M lies above 412 k, marks and `±` count nothing."""
    number, _, unit = text.lstrip(f"≈{UNSTEADY}").partition(" ")
    number = number.rstrip(f"{STALE}*")
    if unit not in ("k", "M"):
        return number
    return f"{float(number) * {'k': 1e3, 'M': 1e6}[unit]:.0f}"
