"""The columns of a table or of an export that were asked for by name."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from cdfss_bench.errors import UserError, unknown

from .text_table import INTERVALS, STACKED, TextTable


def only_columns(tables: Sequence[TextTable], wanted: Sequence[str]) -> list[TextTable]:
    """The tables with their first column and those of the wanted ones that they have.

    A table that has none of them is left out. Headers are wanted without their marks and whatever
    their case.

    Raises:
        UserError: for a name that no table has.
    """
    others = [table for table in tables if not table.is_whole]
    known = dict.fromkeys(spoken(header) for table in others for header in table.headers)
    _refuse_unknown(wanted, known)
    words = {word.lower() for word in wanted}
    return [
        narrowed(table, wanted)
        for table in tables
        if table.is_whole or words & set(map(_plain, table.headers))
    ]


def only_keys(lines: Sequence[dict[str, Any]], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """The lines of an export with the wanted values alone, in that order.

    Raises:
        UserError: for a name that no line has.
    """
    if not wanted or not lines:
        return list(lines)
    _refuse_unknown(wanted, lines[0], exact=True)
    return [{key: line[key] for key in wanted} for line in lines]


def _refuse_unknown(wanted: Sequence[str], known: Iterable[str], *, exact: bool = False) -> None:
    names = list(known)
    plain = set(names) if exact else {name.lower() for name in names}
    for word in wanted:
        if (word if exact else word.lower()) not in plain:
            error = unknown("column", word, names)
            close = (error.hint or "").startswith("did you mean")
            listed = f"{error.problem}; there are: {', '.join(names)}"
            raise UserError(listed, hint=error.hint if close else None)


def narrowed(table: TextTable, wanted: Sequence[str]) -> TextTable:
    """The table with its first column and those of the wanted ones that it has."""
    if not wanted or table.is_whole:
        return table
    plain = [_plain(header) for header in table.headers]
    words = [word.lower() for word in wanted]
    found = [at for word in words for at, name in enumerate(plain) if name == word and at]
    at = [0, *dict.fromkeys(found)]
    place = {old: new for new, old in enumerate(at)}

    def moved(cells: dict[tuple[int, int], Any]) -> dict[tuple[int, int], Any]:
        return {(row, place[old]): value for (row, old), value in cells.items() if old in place}

    shown = {table.headers[i] for i in at} | {INTERVALS}
    return replace(
        table,
        headers=[table.headers[i] for i in at],
        rows=[
            [table.named(number, shown), *(row[i] for i in at[1:])]
            for number, row in enumerate(table.rows)
        ],
        numeric=frozenset(place[i] for i in table.numeric if i in place),
        grey=frozenset(place[i] for i in table.grey if i in place),
        marks=moved(dict(table.marks)),
        behind=moved(dict(table.behind)),
        notes=[note for note in table.notes if table.explains(note, shown)],
        secondary=[step for step in table.secondary if step in (STACKED, INTERVALS)],
        apart={header: of for header, of in table.apart.items() if header in shown},
    )


def spoken(header: str) -> str:
    """A header without its mark and without what tells two populations of a domain apart."""
    name, star, _ = header.partition("*")
    return name if star else re.sub(r" [0-9a-f]{4}/\d+$", "", header)


def _plain(header: str) -> str:
    return spoken(header).lower()
