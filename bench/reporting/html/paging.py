"""The report over as many pages as it takes: each has at most so many bytes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ...records.results import RunResult
from .provenance import origins, provenance
from .rendering import render

_CELL = 110
"""Bytes of a cell of a table beside its text."""
_KEY = 10
"""Bytes of one entry of the provenance beside its text."""


@dataclass
class Paged:
    """One page: the name of its file, what its template is given, and its HTML."""

    name: str
    page: dict[str, Any]
    text: str


def paged(
    page: Mapping[str, Any], found: Iterable[RunResult], name: str, limit: int | None
) -> list[Paged]:
    """The first page and those with the rows that do not fit there.

    Args:
        page: what `report.html.j2` shows; rows that stand elsewhere are taken out of its tables.
        found: the results that it shows, for what is behind each number.
        name: of the first page's file.
        limit: bytes of a page; None for a single page of any length.
    """
    said = provenance(found)
    sizes = _sizes(said)
    first = dict(page)
    # Without rows: what charts, notes and conclusions take.
    tables = list(_tables(first))
    rows = [table["rows"] for table in tables]
    rest: list[tuple[dict[str, Any], list[Any]]] = []
    if limit is not None and _size(rows, sizes) > limit // 4:
        for table in tables:
            table["rows"] = []
        room = limit * 0.9 - len(_rendered(first, {}, [], "").encode())
        share = max(room, 0) / max(len(tables), 1)
        for table, lines in zip(tables, rows, strict=True):
            fitting = _fitting(lines, sizes, share)
            table |= _folded(fitting)
            if len(fitting) < len(lines):
                rest.append((table, lines))
    parts = list(_parts(rest, sizes, (limit or 0) * 0.8))
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    names = [name, *(f"{stem}-{number}{suffix}" for number in range(2, len(parts) + 2))]
    for number, part in enumerate(parts, 1):
        part["href"] = names[number]
        part["of"]["part"] = part["of"]["part"] or names[number]
    pages = [{**first, "parts": parts}]
    pages += [{**page, "groups": [], "parts": parts, "only": part} for part in parts]
    return [
        Paged(own, filled := _filled(each, said, names[0], own), render("report.html.j2", **filled))
        for own, each in zip(names, pages, strict=True)
    ]


def _sizes(said: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Bytes of the provenance of each cell; a text of many is shared among them."""
    users = Counter(text for values in said.values() for text in values.values())
    return {
        cell: sum(len(text.encode()) // users[text] + _KEY for text in values.values())
        for cell, values in said.items()
    }


def _filled(
    page: Mapping[str, Any], said: Mapping[str, Mapping[str, str]], first: str, own: str
) -> dict[str, Any]:
    """With the provenance of what the page shows."""
    tables = [page["only"]["table"]] if page.get("only") else list(_tables(page))
    behind = [c for t in tables for _, _, line in t["rows"] for c in line]
    ids = dict.fromkeys(cell for c in behind for cell in c["origins"].split())
    return {
        "only": None,
        **page,
        "first": first,
        "own": own,
        "origins": origins({cell: said[cell] for cell in ids}),
    }


def _rendered(page: Mapping[str, Any], said: Any, parts: Sequence[Any], own: str) -> str:
    return render("report.html.j2", **_filled({**page, "parts": parts}, said, own, own))


def _tables(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for group in page["groups"]:
        yield from [group["side"]] if group["side"] else []
        for board in group["boards"]:
            yield board["table"]
            yield from [board["cost"]["table"]] if board["cost"] else []


def _size(tables: Sequence[Sequence[Any]], sizes: Mapping[str, int]) -> int:
    seen: set[str] = set()
    return sum(_row_size(row, sizes, seen) for rows in tables for row in rows)


def _row_size(row: Any, sizes: Mapping[str, int], seen: set[str]) -> int:
    """Bytes of a row and of the provenance that it is the first to need."""
    cells = row[2]
    ids = {cell for c in cells for cell in c["origins"].split()} - seen
    seen |= ids
    text = sum(_CELL + len("".join(c.values()).encode()) for c in cells)
    return text + sum(sizes.get(cell, 0) for cell in ids)


def _fitting(rows: Sequence[Any], sizes: Mapping[str, int], room: float) -> list[Any]:
    """The first rows that fit, one at least."""
    seen: set[str] = set()
    taken: list[Any] = []
    for row in rows:
        room -= _row_size(row, sizes, seen)
        if taken and room < 0:
            break
        taken.append(row)
    return taken


def _parts(
    rest: Sequence[tuple[dict[str, Any], list[Any]]], sizes: Mapping[str, int], room: float
) -> Iterator[dict[str, Any]]:
    """Tables of the rows that the first page has no room for, a page of `room` bytes each."""
    for table, lines in rest:
        at = len(table["rows"])
        while at < len(lines):
            taken = _fitting(lines[at:], sizes, room)
            sections = [title for title, *_ in lines[: at + 1] if title is not None]
            if sections:
                taken[0] = (sections[-1], *taken[0][1:])
            yield {
                "title": table["title"] or "Side by side",
                "range": f"rows {at + 1} to {at + len(taken)} of {len(lines)}",
                "table": {**table, **_folded(taken), "part": ""},
                "of": table,
            }
            at += len(taken)


def _folded(rows: list[Any]) -> dict[str, Any]:
    """Some rows of a table, whose controls are folded unless there is nothing else."""
    controls = sum(is_control for _, is_control, _ in rows)
    return {"rows": rows, "controls": controls if controls < len(rows) else 0}
