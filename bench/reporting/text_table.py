"""A table of finished text, and its form in Markdown; `screen` draws it on a terminal."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

BLANK = "–"
STACKED = "intervals below their numbers"
"""Among `secondary`: from here on a narrow screen shows intervals on a line of their own."""
INTERVALS = "intervals"
"""Among `secondary`: from here on a narrow screen shows none."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of finished text.

    Attributes:
        title: what it shows.
        headers: of the columns.
        rows: of cells.
        numeric: indices of right-aligned columns.
        notes: below the table.
        sections: title by the index of the row before which it stands.
        marks: `best`, `second` or `tied` (no significant difference from the best), by row and
            column.
        grey: columns that are shown and compared with nothing.
        outdated: whether all of it is: another evaluator's.
        behind: ids of the records behind a number, by row and column.
        secondary: what a narrow screen may lack, the least needed first: headers of columns,
            `STACKED` and `INTERVALS`.
        whole: what shows all columns on a narrow screen.
        about: by note the headers (or `INTERVALS`) that it explains; it goes where all of them go.
        apart: by header, what tells a row from another with the same first cell, by row; where
            that column is not shown, the first cell says it.
        is_whole: whether it keeps all its columns where others are asked for by name.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int]
    notes: Sequence[str] = field(default_factory=tuple)
    sections: Mapping[int, str] = field(default_factory=dict[int, str])
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    grey: frozenset[int] = frozenset()
    outdated: bool = False
    behind: Mapping[tuple[int, int], Sequence[str]] = field(
        default_factory=dict[tuple[int, int], Sequence[str]]
    )
    secondary: Sequence[str] = ()
    whole: str = "--wide"
    about: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    apart: Mapping[str, Mapping[int, str]] = field(default_factory=dict[str, Mapping[int, str]])
    is_whole: bool = False

    def named(self, row: int, shown: Collection[str]) -> str:
        """The first cell of a row, which tells it from all others where these headers are shown."""
        name = self.rows[row][0]
        told = [of[row] for header, of in self.apart.items() if header not in shown and row in of]
        return f"{name} ({', '.join(told)})" if told else name

    def explains(self, note: str, shown: Collection[str]) -> bool:
        """Whether a note is needed where only these headers are shown."""
        about = self.about.get(note, ())
        return not about or any(header in shown for header in about)


def as_markdown(tables: Sequence[TextTable]) -> str:
    """GitHub tables: the best in bold, the second in italics."""
    parts: list[str] = []
    for table in tables:
        rule = ["---:" if i in table.numeric else "---" for i in range(len(table.headers))]
        lines = [f"**{table.title}**", ""]
        lines += [_markdown_line(table.headers), _markdown_line(rule)]
        for index, cells in enumerate(table.rows):
            if index in table.sections:
                blanks = [""] * (len(table.headers) - 1)
                title = f"*{_escaped(table.sections[index])}*"
                lines.append(_markdown_line([title, *blanks], escape=False))
            marked = [
                _AROUND.get(table.marks.get((index, at), ""), "{}").format(_escaped(cell))
                for at, cell in enumerate(cells)
            ]
            lines.append(_markdown_line(marked, escape=False))
        lines += ["", *(f"{_of_text(note)}  " for note in table.notes)]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts) + "\n"


_MARKUP = r"([|*`$\\]|<(?=[A-Za-z/!?])|(?<!\w)_(?=\w)|(?<=\w)_(?!\w))"
"""Signs that Markdown would read: of a table, emphasis, code, formulas, and of a tag."""

_AROUND = {"best": "**{}**", "second": "*{}*"}


def _markdown_line(cells: Sequence[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_escaped(cell) if escape else cell for cell in cells) + " |"


def _escaped(cell: str) -> str:
    return re.sub(_MARKUP, r"\\\1", cell)


def _of_text(note: str) -> str:
    """A line whose first sign makes no list and no heading, and whose stars are stars."""
    return re.sub(r"^([-+#>])", r"\\\1", re.sub(_MARKUP, r"\\\1", note))
