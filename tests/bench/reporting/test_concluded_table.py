"""A table says what can be concluded from it, on the screen and in Markdown."""

import re
from pathlib import Path

import pytest

from cdfss_bench.bench.comparison.conclusions import conclusions
from cdfss_bench.bench.comparison.current import by_cell
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.concluded_table import with_conclusions
from cdfss_bench.bench.reporting.html.document import as_html
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.text_table import TextTable, as_markdown

from ...support.records import DOMAINS, write_cell
from ...support.shown import board_of, report


def test_the_conclusions_stand_before_the_notes_of_the_table(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.7)
        write_cell(tmp_path, "ssp", domain, skill=0.5)
    found = run_results(tmp_path)
    board = board_of(found)
    where, known = standings(board, found), by_cell(found)
    table = text_table(board, where)
    (concluded,) = with_conclusions(table, board, known, where)
    head, first, *rest = concluded.notes
    assert head == "Conclusions (paired tests, Holm, 5 %, at least 0.5 points):"
    assert [first] == conclusions(board, known, where).sentences
    assert "loec is better than ssp in the mean" in first
    assert rest == table.notes
    assert first in as_markdown([concluded])


def test_many_rows_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    for at, skill in enumerate((0.7, 0.695, 0.69, 0.5, 0.2)):
        for domain in DOMAINS:
            own = 0.95 if (at, domain) == (3, "isic") else skill
            if (at, domain) != (4, "fss1000"):
                write_cell(tmp_path, f"m{at}", domain, skill=own)
    (board_table, table) = shown_tables(tmp_path)
    assert table.title == "Conclusions (paired tests, Holm, 5 %, at least 0.5 points):"
    assert table.headers == ["against", *DOMAINS, "mean"]
    assert re.fullmatch(r"m\d \(mean 6\d\.\d\d\) against the other 4", table.sections[0])
    cells = {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}
    assert set(table.rows[0][1:]) == {"≈"}
    assert cells["m3"]["isic"].startswith("-")
    assert cells["m3"]["chestxray"].startswith("+")
    assert (cells["m4"]["fss1000"], cells["m4"]["mean"]) == ("–", "–")
    legend = table.notes[0]
    assert all(mark in legend for mark in ("+ ", "- ", "≈ ", "– "))
    assert "( )" not in legend
    assert not any("best mean" in note for note in board_table.notes)


def test_a_difference_too_small_for_a_claim_stands_in_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdfss_bench.bench.comparison.row_tests.MINIMUM", 50)
    for at in range(5):
        write_cell(tmp_path, f"m{at}", skill=0.8 - 0.1 * at)
    _, table = shown_tables(tmp_path)
    assert re.fullmatch(r"\(\+\d+\.\d\)", table.rows[0][1])
    assert "( ) a significant difference of less than" in table.notes[0]


def test_columns_that_are_asked_for_leave_the_conclusions_whole(tmp_path: Path) -> None:
    for at in range(5):
        for domain in DOMAINS:
            write_cell(tmp_path, f"m{at}", domain, skill=0.8 - 0.1 * at)
    text = report(tmp_path, "--conclusions", "--columns", "isic")
    lines = text.splitlines()
    assert lines[2].split() == ["method", "isic"]
    assert next(line for line in lines if "against  " in line).split() == [
        "against", *DOMAINS, "mean",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["md", "latex"])
def test_both_tables_are_written(tmp_path: Path, form: str) -> None:
    for at in range(5):
        write_cell(tmp_path, f"m{at}", skill=0.8 - 0.1 * at)
    text = report(tmp_path, "--conclusions", "-f", form)
    assert "m0 against the other 4" in text
    assert "Conclusions (paired tests" in text


def test_the_page_has_the_table_and_its_legend(tmp_path: Path) -> None:
    for at in range(5):
        write_cell(tmp_path, f"m{at}", skill=0.8 - 0.1 * at)
    page = as_html(run_results(tmp_path))
    said = page.partition("What can be concluded")[2].partition("Paired sign-flip tests")[0]
    assert "m0 against the other 4" in said
    assert "+ the best is better" in said
    assert said.count('<td class="num won">') == 4


def shown_tables(results: Path) -> list[TextTable]:
    found = run_results(results)
    board = board_of(found)
    where = standings(board, found)
    return with_conclusions(text_table(board, where), board, by_cell(found), where)
