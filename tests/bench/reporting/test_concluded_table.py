"""A table says what can be concluded from it, on the screen and in Markdown."""

from __future__ import annotations

from pathlib import Path

from cdfss_bench.bench.comparison.conclusions import conclusions
from cdfss_bench.bench.comparison.current import by_cell
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.concluded_table import with_conclusions
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.text_table import as_markdown

from ...support.records import DOMAINS, write_cell
from ...support.shown import board_of


def test_the_conclusions_stand_before_the_notes_of_the_table(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.7)
        write_cell(tmp_path, "ssp", domain, skill=0.5)
    found = run_results(tmp_path)
    board = board_of(found)
    where, known = standings(board, found), by_cell(found)
    table = text_table(board, where)
    concluded = with_conclusions(table, board, known, where)
    head, first, *rest = concluded.notes
    assert head == "Conclusions (paired tests, Holm, 5 %, at least 0.5 points):"
    assert [first] == conclusions(board, known, where)
    assert "loec is better than ssp in the mean" in first
    assert rest == table.notes
    assert first in as_markdown([concluded])
