"""A table of finished text on a screen of any width: no number is ever cut.

What does not fit is narrowed step by step: text wraps at blanks and joints, then secondary columns
are left out in the order that the table names, which a line below says, and where that is not
enough each row becomes a block with a line per column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from .text_table import INTERVALS, STACKED, TextTable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_GAP = "  "
_INDENT = "  "
_LONGEST = 24
"""Characters of a word of text (a path, a name) that stay together; no number has more."""
_PROSE = 30
"""Characters of a line that free text gets while there are columns that may be left out."""
_SHORT = 12
"""Characters of text that stay on one line while there are columns that may be left out."""
_STYLES = {"best": "bold", "second": "underline"}
_JOINT = re.compile(
    r"(?<=[\w\]])(?=[+@][A-Za-z])|(?<=\w)(?=\[)|(?<=[,/])(?=\w)"
    r"|(?<=[a-z][-_])(?=[A-Za-z])"
)
"""Where a name may continue on the next line: before a plug-in or its options, after a hyphen."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is shown of a table at some width.

    Attributes:
        table: all of it.
        columns: indices of those that are shown.
        stacked: whether intervals stand below their numbers.
        intervals: whether they are shown.
    """

    table: TextTable
    columns: Sequence[int]
    stacked: bool = False
    intervals: bool = True

    def text(self, row: int, at: int) -> str:
        if at == 0:
            return self.table.named(row, [self.table.headers[i] for i in self.columns])
        cell = self.table.rows[row][at]
        if self.intervals or at not in self.table.numeric:
            return cell
        return cell.partition(" [")[0]

    def pieces(self, text: str, at: int, *, header: bool = False) -> list[str]:
        """Between what a line may end: words, or a number and what stands behind it in brackets."""
        if header or at not in self.table.numeric:
            return _words(text)
        return re.split(r" (?=[\[(])", text, maxsplit=1) if self.stacked else [text]

    def cells(self, at: int) -> list[list[str]]:
        """Pieces of the header and of each row in a column."""
        rows = range(len(self.table.rows))
        return [
            self.pieces(self.table.headers[at], at, header=True),
            *(self.pieces(self.text(row, at), at) for row in rows),
        ]

    def widths(self, width: int | None, *, tight: bool = False) -> list[int] | None:
        """Of each column, within the screen; None where they do not fit."""
        every = [self.cells(at) for at in self.columns]
        widths = [max(_length("".join(pieces)) for pieces in cells) for cells in every]
        if width is None:
            return widths
        if self.stacked:
            # An interval below its number needs no line as long as both.
            for place, at in enumerate(self.columns):
                if at in self.table.numeric:
                    widths[place] = max(_longest(every[place][1:]), _longest(every[place][:1]))
        least = [
            _least(cells, numeric=at in self.table.numeric, tight=tight)
            for at, cells in zip(self.columns, every, strict=True)
        ]
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) + 1 - width
        while excess > 0:
            # The widest that may wrap gives way: long summaries before short names.
            free = [i for i in range(len(widths)) if widths[i] > least[i]]
            if not free:
                return None
            widths[max(free, key=lambda i: widths[i])] -= 1
            excess -= 1
        return widths


def as_rich(table: TextTable, width: int | None = None) -> RenderableType:
    """The table for a screen of so many characters; without a width nothing is left out."""
    from rich.console import Group

    lines = _wrapped_lines(table.title, width, "bold") if table.title else []
    layout, widths, hidden = _fitted(table, width)
    notes = table.notes
    if widths is None:
        assert width is not None
        lines += _blocks(table, width)
        lines += [_line("")] if notes else []
    else:
        shown = {table.headers[at] for at in layout.columns} | {INTERVALS} - set(hidden)
        notes = [note for note in notes if table.explains(note, shown)]
        lines += _rows(layout, widths, width)
        lines += [_line("")] if hidden or notes else []
        if hidden:
            said = f"hidden at this width: {', '.join(hidden)}; all columns: {table.whole}"
            lines += _wrapped_lines(said, width, "dim")
    for note in notes:
        lines += _wrapped_lines(note, width, "dim")
    return Group(*lines)


def has_room(table: TextTable, width: int) -> bool:
    """Whether a screen of so many characters shows the intervals of a table."""
    steps = [*table.secondary, INTERVALS]
    before = steps[: steps.index(INTERVALS)]
    if _layout(table, before).widths(width) is not None:
        return True
    last = _layout(table, steps)
    # Blocks, which a screen shows that is too narrow for all else, have every cell whole.
    return (last.widths(width) or last.widths(width, tight=True)) is None


def _fitted(table: TextTable, width: int | None) -> tuple[_Layout, list[int] | None, list[str]]:
    """The richest layout that fits, the widths of its columns, and what it lacks."""
    steps: Sequence[str] = ()
    layout = _layout(table, steps)
    widths = layout.widths(width)
    while widths is None and len(steps) < len(table.secondary):
        steps = table.secondary[: len(steps) + 1]
        layout = _layout(table, steps)
        widths = layout.widths(width)
    known = set(table.headers)
    if any(" [" in row[at] for row in table.rows for at in table.numeric):
        known.add(INTERVALS)
    hidden = [step for step in steps if step in known]
    return layout, widths or layout.widths(width, tight=True), hidden


def _layout(table: TextTable, steps: Sequence[str]) -> _Layout:
    """What is shown of a table after some of its `secondary` steps."""
    columns = [at for at, header in enumerate(table.headers) if header not in steps]
    return _Layout(table, columns, STACKED in steps, INTERVALS not in steps)


@lru_cache(maxsize=2**16)
def _length(text: str) -> int:
    if text.isascii() and text.isprintable():
        return len(text.rstrip())
    from rich.cells import cell_len

    return cell_len(text.rstrip())


def _longest(cells: Sequence[Sequence[str]]) -> int:
    return max((_length(piece) for pieces in cells for piece in pieces), default=0)


def _least(cells: Sequence[Sequence[str]], *, numeric: bool, tight: bool) -> int:
    """Where numbers and words stay whole and a cell has two lines or a fair width.

    Args:
        cells: pieces of the header, then of each row; words of a header are always cut at joints.
        numeric: whether the rows are numbers, which are never cut.
        tight: whether names may be cut at joints, long words anywhere, and cells be high.
    """
    header, *rows = cells
    least = min(_longest([_parts(word) for word in header]), _LONGEST)
    if numeric:
        return max(least, _longest(rows))
    if tight:
        parts = [_parts(word) for pieces in rows for word in pieces]
        return max(least, min(_longest(parts), _LONGEST))
    whole = max((_length("".join(pieces)) for pieces in rows), default=0)
    words = max(least, min(_longest(rows), _PROSE), min(whole, _SHORT))
    wide = max(_length("".join(pieces)) for pieces in cells)
    return next(
        (
            width
            for width in range(words, wide)
            if width >= _PROSE or all(len(_lines(pieces, width)) <= 2 for pieces in cells)
        ),
        wide,
    )


def _words(text: str) -> list[str]:
    """Words, each with the blanks behind it."""
    return re.findall(r"\S+\s*", text)


def _parts(word: str) -> list[str]:
    """A word cut at its joints: where a name may continue on the next line."""
    ends = [match.end() for match in _JOINT.finditer(word)]
    return [word[a:b] for a, b in zip([0, *ends], [*ends, len(word)], strict=True)]


def _lines(pieces: Sequence[str], width: int) -> list[str]:
    """Pieces put together to lines of at most `width` characters; longer ones are cut."""
    from rich.cells import chop_cells

    lines: list[str] = []
    for piece in pieces:
        is_long = _length(piece) > width
        for part in _parts(piece) if is_long else [piece]:
            cut = chop_cells(part, width) if _length(part) > max(width, _LONGEST) else [part]
            for end in cut:
                if lines and _length(lines[-1] + end) <= width:
                    lines[-1] += end
                else:
                    lines.append(end)
    return [line.rstrip() for line in lines]


def _rows(layout: _Layout, widths: Sequence[int], width: int | None) -> list[Text]:
    """Headers, a rule, and the rows under the titles of their sections."""
    table = layout.table
    rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
    headers = [layout.pieces(table.headers[at], at, header=True) for at in layout.columns]
    styles = ["bold"] * len(headers)
    lines = [_line(""), *_aligned(layout, headers, styles, widths), _line(f" {rule}")]
    for row in range(len(table.rows)):
        if row in table.sections:
            lines += [_line("")] if row else []
            room = width and width - 1
            titles = _wrapped_lines(table.sections[row], room, "italic")
            lines += [_line(" ").append_text(title) for title in titles]
        cells = [layout.pieces(layout.text(row, at), at) for at in layout.columns]
        styles = [_style(table, row, at) for at in layout.columns]
        lines += _aligned(layout, cells, styles, widths)
    return lines


def _aligned(
    layout: _Layout, cells: Sequence[Sequence[str]], styles: Sequence[str], widths: Sequence[int]
) -> list[Text]:
    """One row, of as many lines as its longest cell needs."""
    from rich.text import Text

    wrapped = [_lines(pieces, wide) for pieces, wide in zip(cells, widths, strict=True)]
    lines: list[Text] = []
    for number in range(max(1, *map(len, wrapped))):
        line = _line(" ")
        for place, (at, wide) in enumerate(zip(layout.columns, widths, strict=True)):
            part = Text(wrapped[place][number] if number < len(wrapped[place]) else "")
            part.stylize(styles[place])
            side: Literal["left", "right"] = "right" if at in layout.table.numeric else "left"
            part.align(side, wide)
            line.append(_GAP if place else "").append_text(part)
        line.rstrip()
        lines.append(line)
    return lines


def _blocks(table: TextTable, width: int) -> list[Text]:
    """A block per row: its first cell as title, then a line per column that says something."""
    from rich.cells import cell_len
    from rich.text import Text

    lines: list[Text] = []
    room = width - len(_INDENT) - len(_GAP)
    for row, cells in enumerate(table.rows):
        if row in table.sections:
            lines += [_line(""), *_wrapped_lines(table.sections[row], width, "italic")]
        lines += [_line(""), *_wrapped_lines(cells[0], width, "bold")]
        told = [at for at in range(1, len(cells)) if cells[at]]
        longest = max((cell_len(table.headers[at]) for at in told), default=0)
        values = max((cell_len(cells[at]) for at in told if at in table.numeric), default=0)
        name = min(longest, max(room - values, room // 3))
        for at in told:
            header, value = Text(table.headers[at], style="dim"), cells[at]
            style = _style(table, row, at)
            if cell_len(header.plain) <= name and cell_len(value) <= room - name:
                header.align("left", name)
                line = _line(_INDENT).append_text(header).append(_GAP)
                lines.append(line.append_text(Text(value, style)))
            else:
                lines.append(_line(_INDENT).append_text(header))
                for part in _lines(_words(value), width - 2 * len(_INDENT)):
                    lines.append(_line(2 * _INDENT).append_text(Text(part, style)))
    return lines


def _wrapped_lines(text: str, width: int | None, style: str) -> list[Text]:
    """A sentence within the screen, wrapped at blanks alone."""
    if width is None:
        return [_line(text, style)]
    return [_line(part, style) for part in _lines(_words(text), width)]


def _line(text: str, style: str = "") -> Text:
    """A line that the console leaves as it is."""
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _style(table: TextTable, row: int, at: int) -> str:
    if table.outdated or at in table.grey:
        return "dim"
    return _STYLES.get(table.marks.get((row, at), ""), "")
