"""What records note of their data, in few lines.

Sentences that differ only in files and numbers are counted, rows that note the same are named
together.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from cdfss_bench.words import plural

_VARIES = re.compile(r"(?:\S*/\S*|\S+\.\w{2,5}(?=\W|$)|\d+(?:[.,x×]\d+)*|…)(?:\s+(?=\S*/))?")
MOST_LINES = 2
"""Lines that a row may have below a table; the rest is counted."""
_NAMED = 3
"""Rows that are named; more are counted."""


def kind_of(note: str) -> str:
    """The sentence without the files and numbers it speaks of: equal for notes of one kind."""
    return re.sub(r"…(?:[\s,]*…)+", "…", _VARIES.sub("…", note))


def summary(notes: Iterable[str]) -> str:
    """The two most frequent kinds, each by its first sentence and its number."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(kind_of(note), []).append(note)
    ordered = sorted(kinds.values(), key=lambda alike: -len(alike))
    parts = [
        alike[0] + (f" (and {len(alike) - 1} more like it)" if len(alike) > 1 else "")
        for alike in ordered[:2]
    ]
    rest = sum(map(len, ordered[2:]))
    if rest:
        parts.append(f"and {rest} more {plural(rest, 'note')}")
    return "; ".join(parts)


def note_lines(
    noted: Sequence[tuple[str, Mapping[str, Iterable[str]]]], *, every: bool = False
) -> list[str]:
    """The notes below a table.

    Args:
        noted: (name, notes by domain) of every row that is shown.
        every: each note by itself, instead of at most two lines a row.
    """
    alike: dict[tuple[tuple[str, tuple[str, ...]], ...], list[str]] = {}
    for name, by_domain in noted:
        found = tuple((domain, tuple(sorted(notes))) for domain, notes in by_domain.items())
        alike.setdefault(tuple(pair for pair in found if pair[1]), []).append(name)
    lines: list[str] = []
    is_whole = True
    for found, names in alike.items():
        who = _who(names, len(noted))
        if every:
            lines += [f"{who} on {domain}: {note}" for domain, notes in found for note in notes]
            continue
        is_whole = is_whole and len(found) <= MOST_LINES and all(len(n) < 2 for _, n in found)
        fits = MOST_LINES if len(found) <= MOST_LINES else MOST_LINES - 1
        lines += [f"{who} on {domain}: {summary(notes)}" for domain, notes in found[:fits]]
        if len(found) > fits:
            rest = sum(len(notes) for _, notes in found[fits:])
            domains = ", ".join(domain for domain, _ in found[fits:])
            lines.append(f"{who}: {rest} more {plural(rest, 'note')} on {domains}")
    if not is_whole:
        lines.append("report --notes shows every note of the records")
    return lines


def _who(names: Sequence[str], rows: int) -> str:
    if len(names) == rows > 1:
        return "all rows"
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} rows"
