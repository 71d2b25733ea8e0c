"""Paired differences between the rows of a board, each against each."""

from collections.abc import Mapping, Sequence
from typing import Any

from cdfss_bench.errors import RecordError

from ...comparison.compare import compare
from ...comparison.current import STALE
from ...comparison.rows import Row
from ...records.results import RunResult
from ..text_table import BLANK

MOST_ROWS = 12


def matrix_of(rows: Sequence[Row], known: Mapping[str, RunResult]) -> list[tuple[str, list[Any]]]:
    """Names of rows and mean paired differences, row minus column: None of a row and itself.

    The first rows with a score are compared.
    """
    rows = [row for row in rows if row.scores][:MOST_ROWS]
    if len(rows) < 2:
        return []
    sides = [
        [known[cell] for score in row.scores.values() for cell in score.cells.values()]
        for row in rows
    ]
    cells: list[list[Any]] = [[None] * len(rows) for _ in rows]
    for i in range(len(rows)):
        for j in range(i):
            cells[i][j], cells[j][i] = _paired(sides[i], sides[j])
    return [
        (row.key.label + (STALE if _has_stale(row) else ""), line)
        for row, line in zip(rows, cells, strict=True)
    ]


def _has_stale(row: Row) -> bool:
    return any(score.is_stale for score in row.scores.values())


def _paired(a: Sequence[RunResult], b: Sequence[RunResult]) -> list[tuple[str, str, str, str]]:
    """Text, p, class, and the reason of a blank, of `a` minus `b` and of `b` minus `a`."""
    try:
        (comparison,) = compare(a, b, resamples=2_000)
    except RecordError as error:
        return [(BLANK, "not paired", "", error.problem)] * 2
    last = comparison.differences[-1]
    names = {"A is better": ("won", "lost"), "B is better": ("lost", "won")}
    told = "p < 0.001" if last.p_holm < 0.001 else f"p = {last.p_holm:.3f}"
    return [
        (f"{sign * (last.a - last.b):+.2f}", f"{told}, {last.domain}", name, "")
        for sign, name in zip((1, -1), names.get(last.verdict, ("", "")), strict=True)
    ]
