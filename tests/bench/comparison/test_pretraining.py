"""Rows are ranked only among backbones of one pretraining, and can be chosen by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.comparison.leaderboard import leaderboards
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.leaderboard_table import text_table

from ...support.records import write_cell

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
    (board,) = leaderboards(one.record for one in found)
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
    (board,) = leaderboards(one.record for one in run_results(tmp_path))
    assert [section.title for section in board.sections()] == [
        "no adaptation",
        "controls",
    ]
    assert "all backbones are pretrained on ImageNet-1k" in text_table(board).notes


def typed(results: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        app, ["report", "--results", str(results), "-f", "csv", *words], catch_exceptions=True
    )
    return done.exit_code, done.output + str(done.exception or "")


def test_a_report_shows_what_was_asked_for_and_what_has_no_backbone(results: Path) -> None:
    code, text = typed(results, "--pretraining", "dinov2")
    assert code == 0
    assert "frost" in text
    assert "all-foreground" in text
    assert "loec" not in text


def test_a_pretraining_that_no_row_has_is_refused_by_name(results: Path) -> None:
    code, text = typed(results, "--pretraining", "SA-1B")
    assert code != 0
    assert "SA-1B" in text
    assert "ImageNet-1k" in text
