"""What a leaderboard says of itself: controls that are beaten or not, supports that are copies."""

import csv
import hashlib
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.rows import CONTROL
from cdfss_bench.bench.comparison.shuffled_control import AgainstControl
from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.export import as_csv, score_lines
from cdfss_bench.bench.statistics.bootstrap import Interval
from cdfss_bench.datasets.core.domain import COPY
from cdfss_bench.methods import parse

from ...support import trees
from ...support.records import COST, write_cell
from ...support.shown import board_of, column, table_of

Run = Callable[..., list[Outcome]]


def pair(results: Path, method: str, domain: str, skill: float, control: float) -> None:
    write_cell(results, method, domain, skill=skill)
    other = f"{method}{CONTROL}"
    write_cell(results, other, domain, skill=control, episodes__sha256="other supports")


def test_each_method_says_how_it_does_against_its_control(tmp_path: Path) -> None:
    for domain in ("isic", "deepglobe"):
        pair(tmp_path, "ssp", domain, 0.6, 0.4)
        pair(tmp_path, "hsnet", domain, 0.6, 0.6 if domain == "isic" else 0.4)
        pair(tmp_path, "patnet", domain, 0.6, 0.7 if domain == "isic" else 0.4)
        write_cell(tmp_path, "loec", domain)
    table = table_of(tmp_path)
    found = column(table, "control")
    assert found["ssp"] == "better"
    assert found["hsnet"] == "no significant difference on isic"
    assert found["patnet"] == "not better on isic"
    assert {found[name] for name in ("loec", f"ssp{CONTROL}", f"hsnet{CONTROL}")} == {"–"}
    (lost,) = [note for note in table.notes if "does not beat" in note]
    assert lost.startswith("patnet does not beat its shuffled-support control on isic (-")
    assert "95 % interval -" in lost
    (open_,) = [note for note in table.notes if "no significant difference from its" in note]
    assert re.match(
        r"hsnet: no significant difference from its shuffled-support control on isic "
        r"\([+-]\d\.\d\d points, p = 0\.\d+, detectable \d\.\d points\)$",
        open_,
    )
    assert not any("twin" in text for text in (*table.notes, *table.headers))
    assert list(table.headers).index("control") not in table.numeric


@pytest.mark.parametrize(
    ("points", "p", "ends", "finding"),
    [
        (3.0, 0.01, (1.0, 5.0), "better"),
        (3.0, 0.20, (-1.0, 7.0), "no significant difference"),
        (0.1, 0.70, (-0.3, 0.4), "not better"),  # equivalent within the least claim
        (0.1, 0.70, (-0.3, 0.6), "no significant difference"),
        (0.2, 0.01, (0.1, 0.3), "not better"),  # certain, and smaller than any claim
        (0.4, 0.01, (0.1, 0.7), "slightly better"),
        (-3.0, 0.20, (-7.0, 1.0), "no significant difference"),
        (-3.0, 0.06, (-5.9, -0.1), "not better"),
        (-3.0, 0.01, None, "not better"),
        (0.0, 1.00, None, "no significant difference"),
        (3.0, 0.01, None, "better"),
    ],
)
def test_only_an_excluded_gain_is_called_not_better(
    points: float, p: float, ends: tuple[float, float] | None, finding: str
) -> None:
    interval = None if ends is None else Interval(points, *ends, error=1.0)
    assert AgainstControl(points, p, interval).finding == finding


def test_equal_methods_are_called_not_better_where_the_interval_is_narrow(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    copied = write_cell(tmp_path, f"ssp{CONTROL}", episodes__sha256="other supports")
    (rows,) = (p for p in tmp_path.rglob("episodes.jsonl") if CONTROL in str(p))
    (own,) = (p for p in tmp_path.rglob("episodes.jsonl") if CONTROL not in str(p))
    # The same masks in both: nothing is left of a difference.
    rows.write_bytes(own.read_bytes())
    copied.episodes.rows_sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    copied.save(rows.with_name("run.json"))
    assert column(table_of(tmp_path), "control")["ssp"] == "not better on isic"


def test_without_rows_nothing_is_said_of_controls(tmp_path: Path) -> None:
    pair(tmp_path, "ssp", "isic", 0.6, 0.4)
    table = table_of(tmp_path, tested=False)
    assert "control" not in table.headers
    assert any(note.startswith("cdfss-bench report says whether") for note in table.notes)


def test_a_control_shows_the_cost_of_its_host(tmp_path: Path) -> None:
    own = COST.model_copy(update={"latency_ms": {"episode": {"p50": 99, "p90": 99, "p99": 99}}})
    write_cell(tmp_path, "ssp", cost=COST)
    write_cell(tmp_path, f"ssp{CONTROL}", cost=own)
    write_cell(tmp_path, f"hsnet{CONTROL}", cost=own)
    board = board_of(tmp_path)
    costs = {key.label: row.cost for key, row in board.rows.items()}
    assert costs == {"ssp": COST, f"ssp{CONTROL}": COST, f"hsnet{CONTROL}": own}


def test_a_control_on_other_weights_is_nobodys_control(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", weights__checkpoint_sha256="a")
    write_cell(tmp_path, f"ssp{CONTROL}", weights__checkpoint_sha256="b")
    assert "control" not in table_of(tmp_path).headers


def test_controls_are_added_where_they_mean_something(seeded_weights: Path) -> None:
    values = {
        "methods": ["ssp", f"hsnet{CONTROL}", "all-foreground"], "suite": "mini", "episodes": 1,
        "domains": ["mini-lesion", "mini-chest"], "weights_dirs": (seeded_weights,),
        "controls": True,
    }  # fmt: skip
    cells = list(plan(Selection.model_validate(values)))
    asked = [(p.episode_set.domain.title, p.composition.label) for p in cells]
    controls = ["all-background", "centre-ellipse", "prototype"]
    typed = ["ssp", f"hsnet{CONTROL}", "all-foreground"]
    lesion = [label for domain, label in asked if domain == "mini-lesion"]
    assert lesion == [*typed, f"ssp{CONTROL}", *controls]
    # The chest has one class: the control that was typed is refused, the other is not even planned.
    chest = [label for domain, label in asked if domain == "mini-chest"]
    assert chest == [*typed, *controls]
    assert [p.composition.label for p in cells if p.cell is None] == [f"hsnet{CONTROL}"]
    plain = Selection.model_validate({**values, "controls": False})
    assert len(list(plan(plain))) == 6


def test_a_control_runs_with_the_weights_of_its_method(
    seeded_weights: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(seeded_weights / "hsnet-resnet-mini.safetensors", mine)
    values = {
        "methods": ["hsnet"], "suite": "mini", "domains": ["mini-lesion"], "episodes": 1,
        "weights_dirs": (seeded_weights,), "weights": {"hsnet": mine}, "controls": True,
    }  # fmt: skip
    cells = plan(Selection.model_validate(values))
    used = {p.composition.label: p.cell.weights.checkpoint for p in cells if p.cell}
    assert used["hsnet"] == used[f"hsnet{CONTROL}"] == mine


@pytest.mark.parametrize("copied", [0, 1, 2])
def test_a_support_that_is_the_querys_own_picture_reaches_the_table(
    copied: int, run_mini: Run, tmp_path: Path
) -> None:
    trees.write_folder(tmp_path / "mugs", count=4)
    cats = tmp_path / "mugs" / "images" / "cat"
    for number in range(copied):
        shutil.copy(cats / "000.jpg", cats / f"00{number + 1}.jpg")
    results = tmp_path / "results"
    (outcome,) = run_mini(
        results, methods=["all-foreground"], domains=["folder[path=mugs]"], suite="cdfss",
        data_root=tmp_path, shots=[3], episodes=30,
    )  # fmt: skip
    assert outcome.record is not None
    notes = [note for note in outcome.record.notes if note.startswith(COPY)]
    alike = {f"images/cat/00{n}.jpg" for n in range(copied + 1)} if copied else set[str]()
    named = {name for note in notes for name in note.removeprefix(COPY).split(" = ")}
    assert {name.removeprefix("mugs/") for name in named} == alike
    said = [note for note in table_of(results, tested=False).notes if "own picture" in note]
    assert bool(said) == bool(copied)
    if copied:
        assert f"{copied + 1} queries are shown their own picture as a support" in said[0]


def test_a_row_says_when_its_method_was_made_for_another_backbone(tmp_path: Path) -> None:
    told = "made for dinov3-l16, here resnet50"
    for domain in ("isic", "deepglobe"):
        write_cell(tmp_path, "insid3", domain, method__backbone="resnet50", notes=[told])
        write_cell(tmp_path, "frost", domain, method__backbone="dinov3-l16")
    table = table_of(tmp_path)
    assert column(table, "backbone") == {
        "insid3": "resnet50 (made for dinov3-l16)",
        "frost": "dinov3-l16",
    }
    assert [note for note in table.notes if "made for" in note] == [f"insid3: {told}"]
    found = run_results(tmp_path)
    boards = leaderboards(answer.record for answer in found)
    for line in csv.DictReader(io.StringIO(as_csv(score_lines(boards)))):
        assert (told in line["notes"]) == (line["backbone"] == "resnet50")


def test_what_a_card_says_of_its_rows_stands_below_every_table_that_shows_one(
    tmp_path: Path,
) -> None:
    composition = parse("abcdfss")
    said = composition.row_notes("resnet50-caffe")
    assert [note.startswith("this row ") for note in said] == [True, True]
    assert composition.row_notes("resnet50") == said[:1]
    assert parse("hsnet").row_notes("resnet50") == []
    for domain in ("isic", "deepglobe"):
        write_cell(
            tmp_path, "abcdfss", domain, method__backbone="resnet50-caffe", notes=["other", *said]
        )
        write_cell(tmp_path, "hsnet", domain)
    notes = table_of(tmp_path).notes
    assert [n for n in notes if "this row" in n] == [f"abcdfss: {note}" for note in sorted(said)]


def test_rows_of_other_seeds_than_the_rest_are_named(tmp_path: Path) -> None:
    for name in ("ssp", "hsnet", "patnet"):
        write_cell(tmp_path, name, "isic")
    assert not any("seeds" in note for note in table_of(tmp_path).notes if "same" in note)
    write_cell(tmp_path, "ssp", "isic", seed=1)
    write_cell(tmp_path, "loec", "isic", seed=3)
    (said,) = [note for note in table_of(tmp_path).notes if "same seeds" in note]
    assert said == "not all rows are of the same seeds: ssp of 0, 1; loec of 3; the others of 0"
    write_cell(tmp_path, "loec", "isic", method__backbone="vit-b16")
    (said,) = [note for note in table_of(tmp_path).notes if "same seeds" in note]
    assert "loec on resnet50 of 3; " in said


@pytest.mark.parametrize("change", [{"episodes__sha256": "0" * 64}, {"evaluator__image_size": 473}])
def test_rows_of_one_seed_that_were_asked_other_episodes_are_named(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    for name in ("ssp", "hsnet", "patnet"):
        write_cell(tmp_path, name, "isic")
        write_cell(tmp_path, name, "isic", seed=1)
    write_cell(tmp_path, "ssp@shuffled-support", "isic", episodes__sha256="1" * 64)
    assert not any("other episodes" in note for note in table_of(tmp_path).notes)
    write_cell(tmp_path, "loec", "isic", seed=1, **change)
    (said,) = [note for note in table_of(tmp_path).notes if "other episodes" in note]
    assert said == (
        "isic, seed 1: evaluated on other episodes, or at another image size, than the rest and so "
        "not comparable with it: loec; run all with one version"
    )


def test_too_many_rows_for_the_permutations_are_said_to_be_tested_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdfss_bench.bench.comparison.ranking.RESAMPLES", 59)
    monkeypatch.setattr("cdfss_bench.bench.reporting.leaderboard_table.RESAMPLES", 59)
    for at in range(4):
        write_cell(tmp_path, f"m{at}", skill=0.9 - 0.2 * at)
    # Of 60 possible p values the least is 1/60, and three rows take it times three: 0.05.
    assert not any("says nothing" in note for note in table_of(tmp_path).notes)
    write_cell(tmp_path, "m4", skill=0.1)
    write_cell(tmp_path, "m0", "chestxray", skill=0.5)
    assert (
        "≈ says nothing on isic: with more than 3 rows beside the best of a section, 59 "
        "permutations cannot show any to be worse" in table_of(tmp_path).notes
    )
