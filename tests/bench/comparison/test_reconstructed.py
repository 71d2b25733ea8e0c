"""A row says that its method was rebuilt because its published code cannot be run."""

import csv
import io
from pathlib import Path

from cdfss_bench.bench.reporting.export import as_csv, score_lines
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.methods import parse
from cdfss_bench.methods.registry.name_grammar import METHODS

from ...support.records import write_cell
from ...support.shown import board_of

TOLD = "this row is reconstructed from published code, whose script cannot run"


def test_the_card_says_it_for_every_composition_with_that_part() -> None:
    for name in ("hera", "hera[pac=auto]"):
        assert TOLD in parse(name).row_notes("vit-mini")
    assert parse("apseg").row_notes("sam-mini")[0].startswith("this row is reconstructed from ")
    assert parse("ssp+lem").row_notes("resnet-mini") == []


def test_title_and_summary_of_apseg_say_it_too() -> None:
    card = METHODS.card("apseg")
    assert card.title == "APSeg (reconstruction)"
    assert card.summary.startswith("Reconstruction: ")


def test_the_table_and_the_export_say_it_of_that_row_alone(tmp_path: Path) -> None:
    for domain in ("isic", "deepglobe"):
        write_cell(tmp_path, "hera", domain, notes=[TOLD])
        write_cell(tmp_path, "ssp", domain)
    board = board_of(tmp_path)
    assert [note for note in text_table(board).notes if "reconstructed" in note] == [
        f"hera: {TOLD}"
    ]
    lines = list(csv.DictReader(io.StringIO(as_csv(score_lines([board])))))
    assert {line["label"] for line in lines if TOLD in line["notes"]} == {"hera"}
    assert {line["label"] for line in lines} == {"hera", "ssp"}
