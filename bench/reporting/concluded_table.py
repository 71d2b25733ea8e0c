"""A leaderboard's table with what can be concluded from it: a table, sentences, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..comparison.conclusions import Compared, Conclusions, conclusions
from ..comparison.leaderboard import Leaderboard
from ..comparison.ranking import Standings
from ..comparison.row_tests import MEAN, Tested
from ..records.results import RunResult
from ..statistics.claims import ALPHA, MINIMUM
from .text_table import BLANK, TextTable

_OPEN = "≈"
_SIGNS = "+ the best is better, - it is worse, by so many points of mIoU over the seeds of both"
_TOLD = f"{_OPEN} the test cannot tell the two"
_CLOSE = f"( ) a significant difference of less than {MINIMUM:g} points, which is no claim"
_UNTESTED = f"{BLANK} not on the same episodes, or computed by older code"


def with_conclusions(
    table: TextTable, board: Leaderboard, known: Mapping[str, RunResult], where: Standings
) -> list[TextTable]:
    """The table of a board's mIoU with what the paired tests allow to conclude.

    Sentences stand before its notes; where the best of a section is compared with many rows, a
    table of its own has these comparisons, and the sentences below it.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    head = f"Conclusions (paired tests, Holm, {ALPHA * 100:g} %, at least {MINIMUM:g} points):"
    found = conclusions(board, known, where)
    concluded = compared_table(found, head)
    if concluded is None:
        return [replace(table, notes=[head, *found.sentences, *table.notes])]
    return [table, replace(concluded, notes=[*concluded.notes, *found.sentences])]


def compared_table(found: Conclusions, title: str = "") -> TextTable | None:
    """The best rows of sections against the others, a line each; None where sentences say it."""
    if not found.compared:
        return None
    tests = [test for one in found.compared for test in one.tests]
    where = {test.where for test in tests}
    places = [*sorted(where - {MEAN}), *([MEAN] if MEAN in where else [])]
    rows: list[list[str]] = []
    sections: dict[int, str] = {}
    for one in found.compared:
        sections[len(rows)] = _head(one)
        of = {(test.other, test.where): _cell(test) for test in one.tests}
        rows += [[other, *(of.get((other, p), BLANK) for p in places)] for other in one.others]
    return TextTable(
        title=title,
        headers=["against", *(place.removeprefix("the ") for place in places)],
        rows=rows,
        numeric=frozenset(range(1, len(places) + 1)),
        sections=sections,
        notes=_legend(rows),
        is_whole=True,
    )


def _head(one: Compared) -> str:
    """`no adaptation: ssp+pac (mean 45.92) against the next 11 of 24 others`."""
    mean = "" if one.mean is None else f" (mean {one.mean:.2f})"
    others, every = len(one.others), one.rows - 1
    which = f"the other {others}" if others == every else f"the next {others} of {every} others"
    return f"{one.title}{': ' if one.title else ''}{one.name}{mean} against {which}"


def _cell(test: Tested) -> str:
    if test.verdict == "open":
        return _OPEN
    points = f"{test.points:+.1f}"
    return f"({points})" if test.verdict == "close" else points


def _legend(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [cell for row in rows for cell in row[1:]]
    notes = [_SIGNS] if any(cell[0] in "+-" for cell in cells) else []
    notes += [_TOLD] if _OPEN in cells else []
    notes += [_CLOSE] if any(cell.startswith("(") for cell in cells) else []
    notes += [_UNTESTED] if BLANK in cells else []
    return ["; ".join(notes)]
