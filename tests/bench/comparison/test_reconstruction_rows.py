"""A row of a method that was rebuilt from few statements says so, in the table and the export."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from cdfss_bench.bench.comparison.leaderboard import leaderboards
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.export import as_csv
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.methods import parse
from cdfss_bench.methods.registry.name_grammar import METHODS

from ...support.records import write_cell


def test_title_and_summary_of_apseg_say_reconstruction() -> None:
    card = METHODS.card("apseg")
    assert card.kind == "host"
    assert card.title == "APSeg (reconstruction)"
    assert card.summary.startswith("Reconstruction: ")
    assert parse("apseg[combine=prototype_mean]").reconstructed.startswith("reconstructed from ")
    assert parse("persam").reconstructed == ""


def test_a_row_of_apseg_says_reconstruction(tmp_path: Path) -> None:
    told = parse("apseg").reconstructed
    write_cell(tmp_path, "apseg", "isic", notes=[told])
    write_cell(tmp_path, "ssp", "isic")
    (board,) = leaderboards([answer.record for answer in run_results(tmp_path)])
    notes = [note for note in text_table(board, None).notes if "reconstruct" in note]
    assert notes == [f"apseg: {told}"]
    lines = list(csv.DictReader(io.StringIO(as_csv([board]))))
    assert {line["label"] for line in lines if told in line["notes"]} == {"apseg"}
