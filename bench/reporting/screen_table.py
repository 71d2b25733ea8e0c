"""A table of finished text on a terminal of any width: no number is ever cut.

Text may wrap at spaces. Where that is not enough the secondary columns are left out, which a line
below says, and where that is not enough each row becomes a block with a line per column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from .text_table import TextTable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_GAP = "   "
_INDENT = "  "
_LONGEST = 24
"""Characters of a word of text (a path, a name) that stay together; no number has more."""
_STYLES = {"best": "bold", "second": "underline"}


def as_rich(table: TextTable, width: int | None = None) -> RenderableType:
    """The table for a terminal.

    Args:
        table: what is shown.
        width: of the terminal in characters; None for as wide as needed, nothing left out.
    """
    from rich.console import Group
    from rich.text import Text

    lines = [Text(table.title, style="bold")] if table.title else []
    columns, hidden = list(range(len(table.headers))), list[str]()
    widths = _widths(table, columns, width)
    for header in table.secondary:
        if widths is None and header in table.headers:
            columns.remove(list(table.headers).index(header))
            hidden.append(header)
            widths = _widths(table, columns, width)
    if width is not None and widths is None:
        lines += _blocks(table, width)
    else:
        lines += _rows(table, columns, widths or [])
        if hidden:
            said = f"hidden at this width: {', '.join(hidden)}; all columns: {table.whole}"
            lines.append(Text(said, style="dim"))
    return Group(*lines, *(Text(note, style="dim") for note in table.notes))


def least_width(table: TextTable) -> int:
    """Characters that all columns need where text wraps."""
    least = [_least(table, at) for at in range(len(table.headers))]
    return sum(least) + len(_GAP) * len(least)


def _widths(table: TextTable, columns: Sequence[int], width: int | None) -> list[int] | None:
    """Of each column, within the terminal; None where they do not fit."""
    widths = [_longest(table, at) for at in columns]
    if width is None:
        return widths
    least = [_least(table, at) for at in columns]
    excess = sum(widths) + len(_GAP) * len(columns) - width
    while excess > 0:
        # The widest that may wrap gives way: long summaries before short names.
        free = [i for i in range(len(columns)) if widths[i] > least[i]]
        if not free:
            return None
        widths[max(free, key=lambda i: widths[i])] -= 1
        excess -= 1
    return widths


def _longest(table: TextTable, at: int) -> int:
    from rich.cells import cell_len

    return max(cell_len(row[at]) for row in (table.headers, *table.rows))


def _least(table: TextTable, at: int) -> int:
    """A number stays whole, and so do the words of text and of headers."""
    from rich.cells import cell_len

    words = [cell_len(w) for row in (table.headers, *table.rows) for w in row[at].split()]
    word = min(max(words, default=0), _LONGEST)
    if at not in table.numeric:
        return max(word, min(_LONGEST // 2, _longest(table, at)))
    return max(word, max((cell_len(row[at]) for row in table.rows), default=0))


def _rows(table: TextTable, columns: Sequence[int], widths: Sequence[int]) -> list[Text]:
    """Headers, a rule, and the rows under the titles of their sections."""
    from rich.text import Text

    headers = [Text(table.headers[at], style="bold") for at in columns]
    rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1) + 1)
    lines = [_line(" "), *_aligned(table, headers, columns, widths), _line(f" {rule}")]
    for index in range(len(table.rows)):
        if index in table.sections:
            lines += [_line(" ")] if index else []
            lines.append(_line(f" {table.sections[index]}", "italic"))
        cells = [_cell(table, index, at) for at in columns]
        lines += _aligned(table, cells, columns, widths)
    return [*lines, _line(" ")]


def _aligned(
    table: TextTable, cells: Sequence[Text], columns: Sequence[int], widths: Sequence[int]
) -> list[Text]:
    """One row, of as many lines as its longest cell needs."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    wrapped = [
        list(cell.wrap(console, wide, overflow="fold"))
        for cell, wide in zip(cells, widths, strict=True)
    ]
    lines: list[Text] = []
    for number in range(max(map(len, wrapped))):
        line = _line(" ")
        for place, (at, wide) in enumerate(zip(columns, widths, strict=True)):
            part = wrapped[place][number] if number < len(wrapped[place]) else Text()
            part.rstrip()
            side: Literal["left", "right"] = "right" if at in table.numeric else "left"
            part.align(side, wide)
            line.append(table.separator if place else "").append_text(part)
        lines.append(line)
    return lines


def _blocks(table: TextTable, width: int) -> list[Text]:
    """A block per row: its first cell as title, then a line per column that says something."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console()
    lines: list[Text] = []
    room = width - len(_INDENT) - len(_GAP)
    for index, row in enumerate(table.rows):
        if index in table.sections:
            lines += [_line(" "), Text(table.sections[index], style="italic")]
        lines += [_line(" "), Text(row[0], style="bold")]
        told = [at for at in range(1, len(row)) if row[at]]
        longest = max((cell_len(table.headers[at]) for at in told), default=0)
        values = max((cell_len(row[at]) for at in told if at in table.numeric), default=0)
        name = min(longest, max(room - values, room // 3))
        for at in told:
            header, value = Text(table.headers[at], style="dim"), _cell(table, index, at)
            if cell_len(header.plain) <= name and cell_len(value.plain) <= room - name:
                header.align("left", name)
                lines.append(Text(_INDENT).append_text(header).append(_GAP).append_text(value))
            else:
                lines.append(Text(_INDENT).append_text(header))
                for part in value.wrap(console, width - 2 * len(_INDENT), overflow="fold"):
                    lines.append(_line(2 * _INDENT).append_text(part))
    return [*lines, _line(" ")]


def _line(text: str, style: str = "") -> Text:
    """A line that the console leaves as it is."""
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _cell(table: TextTable, index: int, at: int) -> Text:
    from rich.text import Text

    style = "dim" if at in table.grey else _STYLES.get(table.marks.get((index, at), ""), "")
    return Text(table.rows[index][at], style="dim" if table.outdated else style)
