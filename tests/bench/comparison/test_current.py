"""Which of several records of one question is shown: the same one everywhere."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.current import (
    STALE,
    STALE_LEGEND,
    chosen,
    latest_versions,
    state_of,
)
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.published import read_published
from cdfss_bench.bench.planning.hashes import named_reader_code
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import RunRecord
from cdfss_bench.bench.reporting.comparison_table import comparison_table
from cdfss_bench.bench.reporting.cost_table import cost_table
from cdfss_bench.bench.reporting.html.provenance import provenance
from cdfss_bench.bench.reporting.published_table import published_table

from ...conftest import CHECKOUT
from ...support.records import COST, DOMAINS, record, write_cell
from ...support.shown import board_of, column, compared, mistake, report, table_of

EARLY, LATE = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
OLD: dict[str, Any] = {"method__code": "old"}
FORMS = ("table", "md", "latex", "csv", "json", "html")


def miou(found: RunRecord) -> str:
    assert found.metrics is not None
    return f"{found.metrics.miou:.2f}"


def test_a_record_that_another_reader_made_is_stale() -> None:
    reader = named_reader_code("isic")
    assert state_of(record("ssp", domain__reader=reader)) == "current"
    assert state_of(record("ssp", domain__reader="0" * 64)) == "stale"
    assert state_of(record("ssp", domain__name="elsewhere", domain__reader=reader)) == "unknown"


def test_the_state_of_a_record_is_that_of_its_code() -> None:
    assert state_of(record("ssp")) == "current"
    assert state_of(record("ssp", method__code="old")) == "stale"
    assert state_of(record("ssp", evaluator__code="old")) == "stale"
    assert state_of(record("not-a-method")) == "unknown"
    assert state_of(record("not-a-method", evaluator__code="old")) == "stale"


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_record_of_the_current_code_answers(order: int) -> None:
    current = [record(cell="a", finished=EARLY), record(cell="b", finished=LATE)]
    old = record(cell="c", finished="2027-01-01T00:00:00+00:00", method__code="old")
    choice = chosen([*current, old][::order])
    assert [one.record.cell for one in choice.shown] == ["b"]
    assert sorted((one.record.cell, one.state) for one in choice.left_out) == [
        ("a", "current"), ("c", "stale"),
    ]  # fmt: skip


def test_seeds_of_two_codes_are_never_averaged() -> None:
    seeds = [record(cell=str(s), episodes__seed=s, finished=EARLY, **OLD) for s in range(3)]
    assert len(chosen(seeds).shown) == 3
    renewed = record(cell="new", episodes__seed=1, finished=LATE)
    assert [one.record.cell for one in chosen([*seeds, renewed]).shown] == ["new"]
    older = record(cell="older", episodes__seed=3, finished="2025-01-01", method__code="older")
    assert {one.record.cell for one in chosen([*seeds, older]).shown} == {"0", "1", "2"}


def test_seeds_of_an_external_program_are_one_number_although_each_has_masks_of_its_own(
    tmp_path: Path,
) -> None:
    def scored(skill: float, finished: str = EARLY, **where: Any) -> RunRecord:
        masks: dict[str, Any] = {"method__external": True, "method__code": str((skill, where))}
        return write_cell(tmp_path, "mine", skill=skill, finished=finished, **masks, **where)

    first = [scored(0.3 + 0.1 * seed, seed=seed) for seed in range(3)]
    scored(0.5, domain="chestxray")
    (row,) = board_of(tmp_path).rows.values()
    scores = {column.domain: score for column, score in row.scores.items()}
    assert scores["isic"].cells == {seed: one.cell for seed, one in enumerate(first)}
    assert not any("scored" in note for note in table_of(tmp_path).notes)
    found = run_results(tmp_path)
    assert latest_versions(found) == found
    again = scored(0.7, LATE, seed=1)
    (row,) = board_of(tmp_path).rows.values()
    scores = {column.domain: score for column, score in row.scores.items()}
    assert scores["isic"].cells == {0: first[0].cell, 1: again.cell, 2: first[2].cell}
    (said,) = [note for note in table_of(tmp_path).notes if "scored" in note]
    assert said == (
        "mine (external): of isic seed 1 the masks that were scored last are shown, the other "
        "cells were scored once: they may be of different versions of the program"
    )


def test_an_old_number_does_not_outlive_a_new_hash_of_the_data() -> None:
    old = record(cell="old", domain__fingerprint="a" * 64, finished=EARLY, **OLD)
    other = record(cell="other", domain__fingerprint="b" * 64, finished=EARLY)
    assert [one.record.cell for one in chosen([old, record(cell="new")]).shown] == ["new"]
    # Two populations that the installed code answered are two columns.
    assert len(chosen([other, record(cell="new")]).shown) == 2


def test_other_words_for_the_same_weights_are_the_same_question() -> None:
    old = record(cell="old", weights__description="pascal", finished=EARLY, **OLD)
    assert [one.record.cell for one in chosen([old, record(cell="new")]).shown] == ["new"]


@pytest.fixture
def renewed(tmp_path: Path) -> tuple[Path, RunRecord, RunRecord]:
    """A results folder with an old and a current answer to one question, and a rival."""
    old = write_cell(tmp_path, "ssp", skill=0.7, finished=LATE, cost=COST, **OLD)
    new = write_cell(tmp_path, "ssp", skill=0.5, finished=EARLY, cost=COST)
    write_cell(tmp_path, "loec", skill=0.6, finished=EARLY, cost=COST)
    return tmp_path, old, new


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_the_current_record(
    form: str, renewed: tuple[Path, RunRecord, RunRecord]
) -> None:
    results, old, new = renewed
    shown = report(results, "-f", form)
    assert miou(new) in shown or str(new.metrics and new.metrics.miou) in shown
    assert miou(old)[:-1] not in shown
    assert STALE not in shown
    if form not in ("csv", "json"):
        assert "not shown: 1 superseded record (1 of older code)" in shown
    assert old.cell[:16] not in shown


def test_compare_takes_what_report_shows(renewed: tuple[Path, RunRecord, RunRecord]) -> None:
    results, old, new = renewed
    found = run_results(results)
    comparison = compared(results, "ssp", "loec")
    assert f"{comparison.differences[0].a:.2f}" == miou(new)
    (old_folder,) = (str(a.path.parent) for a in found if a.record.cell == old.cell)
    # A folder means its own record, and its age is marked.
    by_hand = compared(results, old_folder, "loec")
    assert by_hand.differences[0].stale_a
    table = comparison_table(by_hand)
    assert column(table, "A")["isic"] == f"{miou(old)}{STALE}"
    assert STALE_LEGEND in table.notes


def test_a_filter_does_not_change_what_is_compared(tmp_path: Path) -> None:
    for method in ("ssp", "loec"):
        write_cell(tmp_path, method, seed=0)
        write_cell(tmp_path, method, seed=1, **OLD)
    error = mistake("compare", "ssp", "loec", "--seed", 1, "--results", tmp_path)
    assert "unknown" in error.problem


def test_the_cost_is_that_of_the_newest_current_record(tmp_path: Path) -> None:
    dear = COST.model_copy(update={"params": 1})
    write_cell(tmp_path, "ssp", "isic", finished=EARLY, cost=COST)
    write_cell(tmp_path, "ssp", "deepglobe", finished=LATE, cost=dear, **OLD)
    write_cell(tmp_path, "loec", "isic", finished=LATE, cost=dear, **OLD)
    board = board_of(tmp_path)
    costs = {key.label: row.cost for key, row in board.rows.items()}
    assert costs == {"ssp": COST, "loec": dear}
    assert [cells[0] for cells in cost_table(board).rows] == ["ssp", f"loec{STALE}"]
    lines = csv.DictReader(io.StringIO(report(tmp_path, "--cost", "-f", "csv")))
    assert {line["label"]: line["code"] for line in lines} == {"ssp": "current", "loec": "stale"}


def test_what_only_older_code_computed_is_marked_and_ranked_with_nobody(tmp_path: Path) -> None:
    for domain in ("isic", "deepglobe"):
        write_cell(tmp_path, "ssp", domain, skill=0.5)
        write_cell(tmp_path, "loec", domain, skill=0.8, **OLD)
        write_cell(tmp_path, "hsnet", domain, skill=0.4)
    table = table_of(tmp_path)
    at = list(table.headers).index
    rows = {cells[0]: cells for cells in table.rows}
    for name in ("isic", "deepglobe", "mean"):
        assert STALE in rows["loec"][at(name)]
        assert STALE not in rows["ssp"][at(name)]
    assert [rows[m][at("rank")] for m in ("ssp", "hsnet", "loec")] == ["1", "2", "–"]
    names = [cells[0] for cells in table.rows]
    marks = {(names[i], table.headers[j]) for (i, j), mark in table.marks.items() if mark}
    assert not any(name == "loec" for name, _ in marks)
    assert ("ssp", "isic") in marks
    assert STALE_LEGEND in table.notes
    assert r"$\dagger$" in report(tmp_path, "-f", "latex")
    lines = list(csv.DictReader(io.StringIO(report(tmp_path, "-f", "csv"))))
    assert {line["code"] for line in lines if line["label"] == "loec"} == {"stale"}
    assert {line["rank"] for line in lines if line["label"] == "loec"} == {""}


def test_old_and_new_hashes_of_the_data_leave_the_mean(tmp_path: Path) -> None:
    records = [record("ssp", domain, 40.0, cell=f"new {domain}") for domain in DOMAINS]
    records += [
        record("loec", domain, 80.0, cell=f"old {domain}", domain__fingerprint="a" * 64, **OLD)
        for domain in DOMAINS
    ]
    (board,) = leaderboards(records)
    means = {key.label: board.mean(row) for key, row in board.rows.items()}
    assert means == {"ssp": 40.0, "loec": None}
    assert board.main_column("isic").fingerprint == "f" * 64


def test_older_code_is_marked_beside_published_figures() -> None:
    (board,) = leaderboards([record("loec", domain, 50.0, **OLD) for domain in DOMAINS])
    table = published_table(board, read_published(CHECKOUT / "results" / "published.csv"))
    (loec,) = [cells for cells in table.rows if cells[0] == "LoEC (2025)" and "50" in cells[1]]
    assert f"(50.00{STALE}, " in loec[2]
    assert STALE_LEGEND in table.notes


def test_a_method_that_is_not_here_is_shown_and_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "mine")
    write_cell(tmp_path, "ssp")
    table = table_of(tmp_path)
    (note,) = [note for note in table.notes if note.startswith("code of ")]
    assert note.startswith("code of mine is not here, so it cannot be told whether it is current")
    assert not any(STALE in cell for cells in table.rows for cell in cells)
    remarks = compared(tmp_path, "mine", "ssp").remarks
    assert any(remark.startswith("code of mine is not here") for remark in remarks)


def test_a_copied_folder_with_the_same_cell_is_one_answer(tmp_path: Path) -> None:
    first = write_cell(tmp_path, "ssp", skill=0.4, finished=EARLY)
    write_cell(tmp_path, "ssp", skill=0.6, finished=LATE)
    paths = {answer.record.finished: answer for answer in run_results(tmp_path)}
    newer = paths[LATE].record
    newer.cell = first.cell  # in another folder, as a backup would be
    newer.save(paths[LATE].path)
    (row,) = board_of(tmp_path).rows.values()
    assert [f"{score.mean:.2f}" for score in row.scores.values()] == [miou(newer)]
    said = next(iter(provenance(a for a in run_results(tmp_path) if a.path == paths[LATE].path)))
    assert said == first.cell[:16]
    assert miou(newer) in report(tmp_path, "-f", "html")
    told = json.loads(report(tmp_path, "-f", "json"))
    low, high = told[0]["miou_low"], told[0]["miou_high"]
    assert low < told[0]["miou"] < high
