"""Rows are ranked only among backbones of one pretraining, and can be chosen by it."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.leaderboard_table import backbone, text_table

from ...support.records import write_cell
from ...support.shown import board_of, mistake, report

CONTROL: dict[str, Any] = {"method__backbone": "", "weights__description": "none"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_cell(tmp_path, "ssp", skill=0.5, weights__pretraining="ImageNet-1k")
    write_cell(tmp_path, "loec", skill=0.4, weights__pretraining="ImageNet-1k")
    write_cell(tmp_path, "frost", skill=0.7, weights__pretraining="DINOv2 (LVD-142M)")
    write_cell(tmp_path, "all-foreground", skill=0.2, **CONTROL)
    return tmp_path


def test_rows_of_another_pretraining_are_a_section_of_their_own(results: Path) -> None:
    found = run_results(results)
    board = board_of(found)
    titles = [section.title for section in board.sections()]
    assert titles == [
        "no adaptation · pretrained on DINOv2 (LVD-142M)",
        "no adaptation · pretrained on ImageNet-1k",
        "controls",
    ]
    ranks = {
        key.label: standing.rank
        for (key, column), standing in standings(board, found).items()
        if column
    }
    assert ranks == {"frost": 1, "ssp": 1, "loec": 2, "all-foreground": None}
    assert "ranked only among backbones of one pretraining" in text_table(board).notes


def test_where_all_share_it_a_line_says_so(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", weights__pretraining="ImageNet-1k")
    write_cell(tmp_path, "all-foreground", **CONTROL)
    board = board_of(tmp_path)
    assert [section.title for section in board.sections()] == [
        "no adaptation",
        "controls",
    ]
    assert "all backbones are pretrained on ImageNet-1k" in text_table(board).notes


def test_a_report_shows_what_was_asked_for_and_what_has_no_backbone(results: Path) -> None:
    text = report(results, "-f", "csv", "--pretraining", "dinov2")
    assert "frost" in text
    assert "all-foreground" in text
    assert "loec" not in text


def test_a_pretraining_that_no_row_has_is_refused_by_name(results: Path) -> None:
    error = mistake("report", "--results", results, "--pretraining", "SA-1B")
    assert "SA-1B" in error.problem
    assert "ImageNet-1k" in str(error)


def test_rows_say_an_unusual_size_and_can_be_chosen_by_it(tmp_path: Path) -> None:
    for method, size in (("ssp", 400), ("persam", 1024), ("all-foreground", 0)):
        write_cell(
            tmp_path, method, method__input_size=size, evaluator__image_size=400,
            weights__pretraining="ImageNet-1k",
        )  # fmt: skip
    board = board_of(tmp_path)
    shown = {row.key.label: backbone(row) for row in board.rows.values()}
    assert shown["persam"].endswith(" at 1024 px")
    assert not any("px" in shown[name] for name in ("ssp", "all-foreground"))
    lines = csv.DictReader(io.StringIO(report(tmp_path, "-f", "csv")))
    sizes = {line["label"]: line["input_size"] for line in lines}
    assert sizes == {"ssp": "400", "persam": "1024", "all-foreground": ""}
    text = report(tmp_path, "-f", "csv", "--size", "1024")
    assert "persam" in text
    assert "all-foreground" in text
    assert "ssp" not in text
    error = str(mistake("report", "--results", tmp_path, "--size", "512"))
    assert "sees images of 512 pixels" in error
    assert "400, 1024" in error
