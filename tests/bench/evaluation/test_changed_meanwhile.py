"""Weights and code that change between the planning of a cell and its computation."""

import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.planned_cells import Planned, plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.python.building import build
from cdfss_bench.cards import Catalog
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.name_grammar import METHODS
from cdfss_bench.methods.weights.search import PACKAGED

CARD = "title: Mine\nkind: control\nclass: net:Mine\nsummary: a plug-in\n"
CODE = """
from cdfss_bench.methods.controls.constant import Constant


class Mine(Constant):
    def score(self, query, states, *, shots):
        return super().score(query, states, shots=shots)
"""


def planned(**asked: object) -> list[Planned]:
    values = {"domains": ("mini-lesion",), "suite": "mini", "episodes": 2, **asked}
    return list(plan(Selection.model_validate(values)))


def ran(cells: list[Planned], folder: Path) -> list[Outcome]:
    return list(Runner(folder / "results", with_cost=False).run(cells))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module of a plug-in's method."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "mine.yaml").write_text(CARD)
    (folder / "net.py").write_text(CODE)
    for name in ("_folders", "_origins", "_cards"):
        held = getattr(METHODS, name)
        monkeypatch.setattr(METHODS, name, held.copy() if held is not None else None)
    assert isinstance(METHODS, Catalog)
    METHODS.add_folder(folder)
    return folder / "net.py"


def test_weights_that_were_replaced_after_planning_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ssp.safetensors"
    shutil.copy(PACKAGED / "ssp-resnet-mini.safetensors", path)
    cells = planned(methods=("ssp", "all-foreground"), weights={"ssp": path})
    with safe_open(path, "pt") as file:
        header = file.metadata()
    values = load_file(path)
    save_file({name: value + 1 for name, value in values.items()}, path, metadata=header)
    changed, other = ran(cells, tmp_path)
    assert (changed.how, other.how) == ("refused", "computed")
    assert changed.detail == f"the weights file {path} was changed after this cell was planned"
    assert changed.planned.hint is not None
    assert changed.record is not None
    assert changed.record.metrics is None
    (again,) = ran(planned(methods=("ssp",), weights={"ssp": path}), tmp_path)
    assert again.how == "computed"


def test_a_plug_in_that_was_edited_after_planning_is_refused(mine: Path, tmp_path: Path) -> None:
    cells = planned(methods=("mine", "all-foreground"))
    mine.write_text(CODE.replace("return super()", "return -super()"))
    changed, other = ran(cells, tmp_path)
    assert (changed.how, other.how) == ("refused", "computed")
    assert f"the files of the method 'mine' ({mine.parent / 'mine.yaml'})" in changed.detail


def test_what_this_process_has_imported_of_a_plug_in_is_not_taken_for_its_files(
    mine: Path, tmp_path: Path
) -> None:
    build("mine", pretrained=True)
    (first,) = ran(planned(methods=("mine",)), tmp_path)
    assert first.how == "computed"
    mine.write_text(CODE.replace("return super()", "return -super()"))
    with pytest.raises(UserError, match=r"method 'mine' .* were changed") as refused:
        planned(methods=("mine",))
    assert "start a new process" in (refused.value.hint or "")


def test_a_plug_in_that_was_edited_after_it_was_built_is_refused(mine: Path) -> None:
    build("mine")
    mine.write_text(CODE.replace("return super()", "return -super()"))
    with pytest.raises(UserError, match=r"method 'mine' .* were changed"):
        planned(methods=("mine",))


def test_a_comment_in_a_plug_in_is_no_change(mine: Path, tmp_path: Path) -> None:
    cells = planned(methods=("mine",))
    mine.write_text(CODE + "# a comment\n")
    assert [outcome.how for outcome in ran(cells, tmp_path)] == ["computed"]
