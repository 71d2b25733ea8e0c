"""Who is compared with whom, and what stays blank."""

import csv
import io
import json
from typing import Any

import pytest
from rich.console import Console

from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.leaderboard import Leaderboard
from cdfss_bench.bench.records.schema import RunRecord
from cdfss_bench.bench.reporting.export import as_csv, as_json, score_lines
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.screen_table import as_rich
from cdfss_bench.bench.reporting.text_table import TextTable, as_markdown

from ...support.records import COST, DOMAINS, all_domains, record


def only(records: list[RunRecord]) -> Leaderboard:
    (board,) = leaderboards(records)
    return board


def test_rows_are_methods_and_columns_domains() -> None:
    board = only([*all_domains("ssp"), *all_domains("loec")])
    assert [row.label for row in board.rows] == ["loec", "ssp"]
    assert [column.domain for column in board.columns] == list(DOMAINS)
    assert [board.mean(row) for row in board.rows.values()] == [41.5, 41.5]


def test_seeds_are_averaged_with_their_spread() -> None:
    board = only([record(miou=m, episodes__seed=s) for s, m in enumerate((39.0, 40.0, 42.5))])
    (score,) = next(iter(board.rows.values())).scores.values()
    assert score.mean == pytest.approx(40.5)
    assert score.spread == pytest.approx(1.8027756)


@pytest.mark.parametrize(
    "change",
    [
        {"evaluator__version": 2},
        {"episodes__protocol": "strict"},
        {"episodes__shots": 5},
        {"domain__suite": "mini"},
        {"evaluator__precision": "bf16"},
    ],
)
def test_what_was_measured_otherwise_stands_on_another_board(change: dict[str, Any]) -> None:
    assert len(leaderboards([record(), record(**change)])) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"weights__selection": "target-oracle"},
        {"weights__checkpoint_sha256": "1"},
        {"method__backbone": "vgg16"},
        {"method__adaptation": "episode"},
    ],
)
def test_another_way_to_get_there_is_another_row(change: dict[str, Any]) -> None:
    assert len(only([record(), record(**change)]).rows) == 2


@pytest.mark.parametrize(
    "change", [{"domain__fingerprint": "a" * 64}, {"domain__profile": "partial: 1 of 3 classes"}]
)
def test_another_population_is_another_column(change: dict[str, Any]) -> None:
    board = only([record(), record(**change)])
    assert len(board.columns) == 2
    assert board.mean(next(iter(board.rows.values()))) is None


def test_there_is_no_mean_over_what_happens_to_be_there() -> None:
    board = only([*all_domains("ssp"), *all_domains("loec")[:3]])
    means = {row.label: board.mean(entry) for row, entry in board.rows.items()}
    assert means == {"ssp": 41.5, "loec": None}


def test_what_another_row_cut_short_takes_no_mean_away() -> None:
    short = record("loec", "isic", episodes__limited=True, episodes__count=5)
    board = only([*all_domains("ssp"), short])
    assert len(board.columns) == 5
    means = {row.label: board.mean(entry) for row, entry in board.rows.items()}
    assert means == {"ssp": 41.5, "loec": None}


def test_two_whole_populations_of_a_domain_give_no_mean() -> None:
    other = record("loec", "isic", domain__fingerprint="a" * 64)
    board = only([*all_domains("ssp"), other])
    assert [board.mean(row) for row in board.rows.values()] == [None, None]


def test_a_partial_column_gives_no_mean() -> None:
    board = only([*all_domains()[:3], record(domain="isic", domain__complete=False)])
    assert board.mean(next(iter(board.rows.values()))) is None


def test_a_shortened_column_gives_a_mean_that_is_marked() -> None:
    board = only([*all_domains()[:3], record(domain="isic", miou=43.0, episodes__limited=True)])
    assert board.mean(next(iter(board.rows.values()))) == 41.5
    table = text_table(board)
    assert table.rows[0][list(table.headers).index("mean")] == "41.50*"
    assert "* mean over fewer episodes than the protocol has" in table.notes
    assert "* isic: full, 600 episodes, 1 of 1 classes" in table.notes


def test_a_refused_cell_is_a_blank_with_its_reason_until_it_is_answered() -> None:
    board = only([*all_domains()[:3], record(domain="isic", miou=None)])
    table = text_table(board)
    assert any("isic: class 'a|b' has 5 images (ssp)" in note for note in table.notes)
    answered = only([*all_domains(), record(domain="isic", miou=None)])
    assert not any("has 5 images" in note for note in text_table(answered).notes)


def test_a_row_of_nothing_but_refusals_is_shown() -> None:
    board = only([record("hsnet", miou=None), *all_domains("ssp")])
    assert {row.label for row in board.rows} == {"hsnet", "ssp"}


def test_every_shape_of_the_table_says_the_same() -> None:
    boards = leaderboards([*all_domains(cost=COST), record("loec", "isic", None)])
    markdown = as_markdown([text_table(board) for board in boards])
    assert "| ssp | resnet50 | trained on pascal | none | 40.00 |" in markdown
    assert "8.67 M | 111.46 | 12.3 | cpu |" in markdown
    screen = Console(file=io.StringIO(), width=240, no_color=True)
    for board in boards:
        screen.print(as_rich(text_table(board)))
    drawn = screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "41.50" in drawn
    lines = list(csv.DictReader(io.StringIO(as_csv(score_lines(boards)))))
    objects = json.loads(as_json(score_lines(boards)))
    assert len(lines) == len(objects) == 8
    by_domain = {line["domain"]: line for line in lines if line["label"] == "ssp"}
    assert float(by_domain["deepglobe"]["miou"]) == 41.0
    assert by_domain["deepglobe"]["flops_episode"] == "111462400000"
    blank = next(line for line in lines if (line["label"], line["domain"]) == ("loec", "isic"))
    assert (blank["miou"], blank["reason"]) == ("", "class 'a|b' has 5 images")


@pytest.mark.parametrize(
    ("suite", "begins"),
    [
        ("cdfss", "CD-FSS, 1-shot"),
        ("extended", "further targets of 2025-26, 1-shot"),
        ("extra", "further domains, 1-shot"),
        ("mini", "mini suite, 1-shot"),
    ],
)
def test_a_board_says_of_which_suite_it_is(suite: str, begins: str) -> None:
    assert text_table(only([record(domain__suite=suite)])).title.startswith(begins)


def test_the_brackets_of_a_method_are_shown_in_a_title() -> None:
    table = TextTable("A = ssp+lcm[auto], B = ssp", ["a"], [["1"]], frozenset())
    screen = Console(file=io.StringIO(), width=80, no_color=True)
    screen.print(as_rich(table))
    drawn = screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "ssp+lcm[auto]," in "".join(drawn.split())


def test_equal_networks_are_one_row_under_the_shortest_name() -> None:
    same = {"method__composition": "ssp+lem+lcm"}
    first = all_domains("loec", **same)[:2]
    others = all_domains("ssp+lcm[k=3]+lem", **same)[2:]
    board = only([*first, *others])
    assert [row.label for row in board.rows] == ["loec"]
    assert board.mean(next(iter(board.rows.values()))) == 41.5
