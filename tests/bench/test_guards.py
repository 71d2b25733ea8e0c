"""What a leaderboard says of itself: twins that are beaten or not, and supports that are copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench.bench.answers import answers
from cdfss_bench.bench.leaderboard import leaderboards
from cdfss_bench.bench.runner import Outcome
from cdfss_bench.bench.selection import Selection, plan
from cdfss_bench.bench.standing import standings
from cdfss_bench.bench.tables import text_table
from cdfss_bench.bench.texttable import TextTable
from cdfss_bench.datasets.domain import COPY

from ..datasets import trees
from .worked import write_cell

TWIN = "@shuffled-support"
Run = Callable[..., list[Outcome]]


def table_of(results: Path, *, tested: bool = True) -> TextTable:
    found = answers(results)
    (board,) = leaderboards(answer.record for answer in found)
    return text_table(board, standings(board, found) if tested else None)


def twins(table: TextTable) -> dict[str, str]:
    at = list(table.headers).index("twin")
    return {cells[0]: cells[at] for cells in table.rows}


def pair(results: Path, method: str, domain: str, skill: float, twin: float) -> None:
    write_cell(results, method, domain, skill=skill)
    write_cell(results, f"{method}{TWIN}", domain, skill=twin, episodes__sha256="other supports")


def test_each_method_says_whether_it_beats_its_twin(tmp_path: Path) -> None:
    for domain in ("isic", "deepglobe"):
        pair(tmp_path, "ssp", domain, 0.6, 0.4)
        pair(tmp_path, "hsnet", domain, 0.6, 0.6 if domain == "isic" else 0.4)
        write_cell(tmp_path, "loec", domain)
    table = table_of(tmp_path)
    assert twins(table) == {
        "ssp": "beaten", "hsnet": "not on isic", "loec": "–",
        f"ssp{TWIN}": "–", f"hsnet{TWIN}": "–",
    }  # fmt: skip
    (said,) = [note for note in table.notes if "does not beat" in note]
    assert said.startswith("hsnet does not beat its shuffled-support twin on isic (")
    assert "p = " in said
    assert any("sign-flip test" in note for note in table.notes)
    assert list(table.headers).index("twin") not in table.numeric


def test_a_lead_within_chance_beats_no_twin(tmp_path: Path) -> None:
    pair(tmp_path, "ssp", "isic", 0.501, 0.5)
    lead = {c[0]: float(c[4].partition(" ")[0].lstrip("≈")) for c in table_of(tmp_path).rows}
    assert lead["ssp"] > lead[f"ssp{TWIN}"]
    assert twins(table_of(tmp_path)) == {"ssp": "not on isic", f"ssp{TWIN}": "–"}
    # Where only records are at hand, the means are all there is, and the table says so.
    assert twins(table_of(tmp_path, tested=False))["ssp"] == "beaten"
    assert any("by the plain means" in note for note in table_of(tmp_path, tested=False).notes)


def test_a_twin_on_other_weights_is_nobodys_twin(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", weights__checkpoint_sha256="a")
    write_cell(tmp_path, f"ssp{TWIN}", weights__checkpoint_sha256="b")
    assert "twin" not in table_of(tmp_path).headers


def test_controls_and_twins_are_added_where_they_mean_something(seeded_weights: Path) -> None:
    values = {
        "methods": ["ssp", f"hsnet{TWIN}", "all-foreground"], "suite": "mini", "episodes": 1,
        "domains": ["mini-lesion", "mini-chest"], "weights_dirs": (seeded_weights,),
        "controls": True,
    }  # fmt: skip
    cells = list(plan(Selection.model_validate(values)))
    asked = [(p.question.domain.title, p.composition.label) for p in cells]
    controls = ["all-background", "centre-ellipse", "prototype"]
    typed = ["ssp", f"hsnet{TWIN}", "all-foreground"]
    lesion = [label for domain, label in asked if domain == "mini-lesion"]
    assert lesion == [*typed, f"ssp{TWIN}", *controls]
    # The chest has one class: the twin that was typed is refused, the other is not even planned.
    chest = [label for domain, label in asked if domain == "mini-chest"]
    assert chest == [*typed, *controls]
    assert [p.composition.label for p in cells if p.cell is None] == [f"hsnet{TWIN}"]
    plain = Selection.model_validate({**values, "controls": False})
    assert len(list(plan(plain))) == 6


def test_a_twin_runs_with_the_weights_of_its_method(seeded_weights: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(seeded_weights / "hsnet-resnet-mini.safetensors", mine)
    values = {
        "methods": ["hsnet"], "suite": "mini", "domains": ["mini-lesion"], "episodes": 1,
        "weights_dirs": (seeded_weights,), "weights": {"hsnet": mine}, "controls": True,
    }  # fmt: skip
    cells = plan(Selection.model_validate(values))
    used = {p.composition.label: p.cell.weights.checkpoint for p in cells if p.cell}
    assert used["hsnet"] == used[f"hsnet{TWIN}"] == mine


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
