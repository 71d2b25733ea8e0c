"""A method without its source training: named so everywhere, in a section of its own."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.leaderboard import BARE, TRIAL
from cdfss_bench.bench.comparison.published import read_published
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.comparison_table import comparison_table
from cdfss_bench.bench.reporting.cost_table import cost_table, frontiers
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.published_table import published_table

from ...conftest import CHECKOUT
from ...support.records import COST, DOMAINS, all_domains, record, write_cell
from ...support.shown import board_of, column, compared, printed, report, table_of

KIND: dict[str, Any] = {
    "weights__kind": "not source-trained", "weights__description": "imagenet only",
    "weights__selection": "none",
}  # fmt: skip
NAME = "loec (not source-trained)"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.7, cost=COST, **KIND)
        write_cell(tmp_path, "ssp", domain, skill=0.5, cost=COST)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (KIND, NAME),
        ({"weights__kind": "source-trained"}, "loec"),
        ({"weights__kind": "published", "weights__description": "x only"}, "loec"),
        # Older records do not say: their description does, where the method is known.
        ({"weights__description": "imagenet only"}, NAME),
        ({"weights__description": "trained on pascal"}, "loec"),
    ],
)
def test_the_name_says_what_was_not_trained(changes: dict[str, Any], name: str) -> None:
    assert record("loec", **changes).name == name


def test_what_never_is_trained_keeps_its_name() -> None:
    for method in ("prototype", "all-foreground", "not-a-method"):
        assert record(method, weights__description="imagenet only").name == method


def test_it_is_ranked_apart(results: Path) -> None:
    board, table = board_of(results), table_of(results)
    assert list(table.sections.values()) == ["no adaptation", BARE]
    assert column(table, "rank") == {"ssp": "1", NAME: "1"}
    assert [cells[0] for cells in cost_table(board).rows] == ["ssp", NAME]
    assert {key.label for key in frontiers(board)} == {"ssp"}


@pytest.mark.parametrize("form", ["table", "md", "latex", "csv", "json", "html"])
def test_every_form_names_it_so(form: str, results: Path) -> None:
    shown = report(results, "-f", form)
    assert NAME in shown
    if form == "html":
        assert not re.search(r">\W*loec\W*<", shown)
        assert "loec…" not in shown
    elif form not in ("csv", "json"):
        assert shown.count("loec") == shown.count(NAME)
    if form in ("csv", "json"):
        lines = json.loads(shown) if form == "json" else csv.DictReader(io.StringIO(shown))
        kinds = {line["label"]: line["weights_kind"] for line in lines}
        assert kinds == {NAME: "not source-trained", "ssp": ""}


def test_it_never_stands_beside_published_figures(results: Path) -> None:
    reports = read_published(CHECKOUT / "results" / "published.csv")
    board = board_of(results)
    table = published_table(board, reports)
    (loec,) = [cells for cells in table.rows if cells[:2] == ["LoEC (2025)", "ResNet-50"]]
    assert not any("(" in cell for cell in loec[2:])
    assert f"left out, since published figures are of trained methods: {NAME}" in table.notes
    (trained,) = leaderboards(all_domains("loec"))
    assert not any("left out" in note for note in published_table(trained, reports).notes)


def test_compare_finds_it_by_what_was_typed(results: Path) -> None:
    def title(name: str) -> str:
        return comparison_table(compared(results, name, "ssp")).title

    assert title("loec").startswith(f"A = {NAME}, B = ssp")
    assert title(NAME) == title("loec")
    # Where the trained method is there too, its plain name means that one.
    write_cell(results, "loec", "isic", skill=0.3)
    assert title("loec").startswith("A = loec, B = ssp")
    assert title(NAME).startswith(f"A = {NAME}, B = ssp")


def test_its_section_is_named_where_it_is_the_only_one() -> None:
    (board,) = leaderboards([record("loec", d, cost=COST, **KIND) for d in DOMAINS])
    for table in (text_table(board), cost_table(board)):
        assert list(table.sections.values()) == [BARE]


def test_a_listing_names_it_so(results: Path) -> None:
    listed = json.loads(printed("list", "runs", "loec", "--results", results, "--json"))
    assert {run["method"] for run in listed} == {NAME}


def test_a_refusal_stands_in_its_row() -> None:
    refused = record("loec", "isic", None, weights__selection="none")
    (board,) = leaderboards([*[record("loec", d, **KIND) for d in DOMAINS[:3]], refused])
    (row,) = board.rows.values()
    assert row.missing == {"isic": "class 'a|b' has 5 images"}


@pytest.mark.parametrize(
    "changes", [{"weights__toy": True}, {"method__backbone": "resnet-mini"}], ids=["toy", "older"]
)
def test_weights_of_the_mini_suite_on_other_data_stand_apart(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.7, cost=COST, **changes)
        write_cell(tmp_path, "ssp", domain, skill=0.5, cost=COST)
    found = run_results(tmp_path)
    board = board_of(found)
    assert [section.title for section in board.sections()] == ["no adaptation", TRIAL]
    assert [row.key.label for row in board.sections()[1].rows] == ["loec"]
    ranks = {row.label: place.rank for (row, column), place in standings(board, found).items()
             if column is None}  # fmt: skip
    assert ranks == {"ssp": 1, "loec": 1}
