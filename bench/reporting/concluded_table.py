"""A leaderboard's table with what can be concluded from it, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..comparison.conclusions import conclusions
from ..comparison.leaderboard import Leaderboard
from ..comparison.ranking import Standings
from ..records.results import RunResult
from ..statistics.claims import ALPHA, MINIMUM
from .text_table import TextTable


def with_conclusions(
    table: TextTable, board: Leaderboard, known: Mapping[str, RunResult], where: Standings
) -> TextTable:
    """The table of a board's mIoU with what the paired tests allow to conclude before its notes.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    head = f"Conclusions (paired tests, Holm, {ALPHA * 100:g} %, at least {MINIMUM:g} points):"
    return replace(table, notes=[head, *conclusions(board, known, where), *table.notes])
