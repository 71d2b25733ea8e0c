"""Which weights a selection runs with, what its records say of them, and what is warned of."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.planning.planned_cells import Planned, plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.schema import RunRecord, read_runs
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.errors import UserError

from ...support import trees
from ...support.trainings import job_of

Typed = Callable[[str], Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a few images of ISIC and of PASCAL."""
    root = tmp_path_factory.mktemp("data")
    trees.write_isic(root, {number: range(number, 12, 3) for number in (1, 2, 3)})
    trees.write_pascal(root)
    return root


@pytest.fixture(autouse=True)
def nothing_else_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("CDFSS_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    for name in ("CDFSS_BACKBONE", "CDFSS_DATA_ROOT", "CDFSS_EPISODES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def typed(data: Path) -> Typed:
    def run(command: str) -> Any:
        return CliRunner().invoke(app, command.replace("DATA", str(data)).split())

    return run


def planned(data: Path, **selected: object) -> list[Planned]:
    values = {"methods": ("ssp",), "data_root": data, "episodes": 2, **selected}
    return list(plan(Selection.model_validate(values)))


def records(folder: Path) -> list[RunRecord]:
    return [record for _, record in read_runs(folder)]


def test_real_data_are_not_asked_with_the_packaged_weights(data: Path) -> None:
    for method in ("ssp", "loec", "prototype", "ssp@shuffled-support", "ssp-vit", "fptrans"):
        (one,) = planned(data, methods=(method,), domains=("isic",))
        assert one.cell is None, method
        assert one.reason.startswith("no pretrained weights of ")
        assert "-mini" not in one.reason
        assert one.hint
    (control,) = planned(data, methods=("all-foreground",), domains=("isic",))
    assert control.cell is not None


def test_the_mini_sizes_do_not_bring_the_mini_weights_to_real_data(data: Path) -> None:
    (one,) = planned(data, domains=("isic",), suite="mini")
    assert one.cell is None
    (one,) = planned(data, domains=("isic",), suite="mini", backbone="resnet-mini")
    assert one.cell is not None


def test_every_domain_of_a_selection_resolves_on_its_own(data: Path) -> None:
    cells = planned(data, methods=("hsnet", "ssp"), domains=("isic", "mini-lesion"))
    found = {(one.composition.label, one.episode_set.domain.title): one for one in cells}
    assert found["ssp", "isic"].cell is None
    assert found["hsnet", "isic"].cell is None
    assert str(found["hsnet", "isic"].composition) == "hsnet"
    for method in ("hsnet", "ssp"):
        cell = found[method, "mini-lesion"].cell
        assert cell is not None
        assert cell.weights.backbone == "resnet-mini"
        assert cell.weights.kind(cell.composition) == "source-trained"
    assert str(found["hsnet", "mini-lesion"].composition) == "hsnet[widths=8-16-32]"
    alone = planned(data, domains=("mini-lesion",))[0].cell
    together = found["ssp", "mini-lesion"].cell
    assert alone is not None
    assert together is not None
    assert alone.id == together.id
    for one in (found["ssp", "mini-lesion"], found["hsnet", "mini-lesion"]):
        assert one.asked is not None
        (again,) = plan(one.asked)
        assert again.cell is not None
        assert one.cell is not None
        assert again.cell.id == one.cell.id


@pytest.mark.parametrize(
    ("kept_out", "asked", "hint"),
    [
        (0.0, "mini-source", "with weights of a training with --hold-out 0.1"),
        (0.2, "mini-source", "ask 'mini-source[held_out=0.2]'"),
        (0.2, "mini-source[held_out=0.3]", "with weights of a training with --hold-out 0.3"),
        (0.2, "mini-source[held_out=0.2]", ""),
        (0.2, "mini-source[held_out=0.1]", ""),
    ],
)
def test_source_images_are_asked_only_of_weights_that_did_not_see_them(
    kept_out: float, asked: str, hint: str, trained: Mapping[float, Path], data: Path
) -> None:
    (one,) = planned(data, domains=(asked,), weights={"ssp": trained[kept_out]})
    assert (one.cell is None) == bool(hint)
    assert hint in (one.hint or "")
    if hint:
        assert one.reason.startswith(f"the weights were trained on images of {asked}")
    (untrained,) = planned(data, methods=("prototype",), domains=(asked,))
    assert untrained.cell is not None


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Mapping[float, Path]:
    """Weights of SSP on the mini source, by the share that was held out."""
    found: dict[float, Path] = {}
    for share in (0.0, 0.2):
        job, path = job_of(tmp_path_factory.mktemp("weights"), hold_out=share, episodes=2)
        train(job, path)
        found[share] = path
    return found


def test_a_trial_with_the_toy_backbone_is_marked(typed: Typed, tmp_path: Path) -> None:
    done = typed(
        "run -m ssp -m prototype -d isic -d mini-lesion --backbone resnet-mini --episodes 1 "
        "--no-cost --data-root DATA --results r"
    )
    assert done.exit_code == 0, done.output
    assert done.stderr.count("warning: ") == 1
    assert (
        "warning: ssp, prototype: weights of the mini suite (resnet-mini) on other data are a "
        "trial, not a result\n"
    ) in done.stderr
    found = {(r.method.label, r.domain.name): r.weights for r in records(tmp_path / "r")}
    assert {key: part.toy for key, part in found.items()} == {
        ("ssp", "isic"): True,
        ("prototype", "isic"): True,
        ("ssp", "mini-lesion"): False,
        ("prototype", "mini-lesion"): False,
    }
    assert found["ssp", "isic"].description == "trained on mini-source"
    assert found["ssp", "isic"].kind == "source-trained"
    assert found["ssp", "isic"].words.startswith("source-trained on mini-source, ")
    assert found["prototype", "isic"].words == "backbone only (mini-source)"


@pytest.mark.parametrize(
    "command",
    [
        "run -m ssp -d isic --episodes 1 --no-cost --data-root DATA",
        "run -m ssp -d isic --episodes 1 --dry-run --data-root DATA",
        "predict -m ssp -d isic --count 1 -o pictures --data-root DATA",
        "diagnose cka -m ssp -d isic --episodes 1 -o found --data-root DATA",
        "train -m ssp --source pascal --episodes 1 -o trained --data-root DATA",
    ],
)
def test_every_command_asks_for_real_weights_on_real_data(typed: Typed, command: str) -> None:
    done = typed(command)
    said = done.stderr + (str(done.exception) if isinstance(done.exception, UserError) else "")
    assert "hint: cdfss-bench weights fetch resnet50-deep" in said
    assert "--backbone resnet-mini for a trial with the toy backbone" in said
    assert "trained on mini-source" not in said


def test_a_method_without_its_training_is_named_and_warned_of_once(
    typed: Typed, seeded_weights: Path, tmp_path: Path
) -> None:
    command = (
        "run -m ssp -m loec -m prototype -m hsnet -d mini-chest -d mini-lesion --episodes 1 "
        f"--no-cost --results r --weights-dir {seeded_weights}"
    )
    done = typed(command)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("warning: ") == 1
    assert "warning: ssp, loec: only the backbone's weights are here" in done.stderr
    hint = "  hint: cdfss-bench train -m 'ssp' -m 'ssp+lem' --backbone resnet-mini --source mini,"
    assert hint in done.stderr
    assert "cdfss-bench weights convert FILE -m 'ssp' --backbone resnet-mini" in done.stderr
    for method in ("ssp", "loec"):
        assert f"{method} (not source-trained): resnet-mini, mini-source only" in done.stderr
        assert f"{method} (not source-trained) · mini-chest · 1-shot · seed 0: mIoU" in done.stderr
        assert f"{method} · mini-chest" not in done.stderr
    for method in ("prototype", "hsnet"):
        assert f"{method} · mini-chest · 1-shot · seed 0: mIoU" in done.stderr
    kinds = {r.method.label: r.weights.kind for r in records(tmp_path / "r")}
    assert kinds == {
        "ssp": "not source-trained",
        "loec": "not source-trained",
        "prototype": "not needed",
        "hsnet": "source-trained",
    }
    planned = typed(f"{command} --dry-run --wide")
    assert planned.stderr.count("warning: ") == 1
    assert re.search(r"ssp \(not source-trained\) +mini-chest", planned.stdout)


@pytest.mark.parametrize(
    "command",
    [
        "predict -m ssp -d mini-chest --count 1 -o pictures",
        "diagnose cka -m ssp -d mini-chest --episodes 2 --seed 0 -o found",
    ],
)
def test_other_commands_warn_of_it_too(typed: Typed, seeded_weights: Path, command: str) -> None:
    done = typed(f"{command} --weights-dir {seeded_weights}")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("warning: ssp: only the backbone's weights are here") == 1


def test_the_packaged_weights_need_no_warning(typed: Typed) -> None:
    done = typed("run -m ssp -m loec -m hsnet -d mini-chest --episodes 1 --no-cost --results r")
    assert done.exit_code == 0, done.output
    assert "warning" not in done.stderr
    assert "not source-trained" not in done.stderr + done.stdout


def test_lists_mark_the_backbones_of_the_mini_suite(typed: Typed) -> None:
    assert "resnet-mini (mini suite)" in typed("list methods ssp").stdout


@pytest.mark.parametrize("jobs", ["", " --jobs 2"])
def test_a_run_says_how_to_correct_a_checkpoint_that_is_refused(
    typed: Typed, tmp_path: Path, jobs: str
) -> None:
    tensors = {"weight": torch.zeros(1)}
    torch.save({"state_dict": tensors, "state_dict_ema": {"weight": torch.ones(1)}}, "two.pth")
    done = typed(
        f"run -m ssp -d mini-chest --episodes 1 --no-cost --results r --weights two.pth{jobs}"
    )
    assert done.exit_code == 2
    assert "refused: two.pth holds several sets of weights" in done.stderr
    assert "  hint: say which: cdfss-bench weights convert two.pth -m METHOD" in done.stderr
    converted = typed(
        "weights convert two.pth -m ssp --backbone resnet-mini -o a.safetensors --entry state_dict"
    )
    assert isinstance(converted.exception, UserError)
    assert "lacks 'conv1.weight'" in converted.exception.problem
    assert not (tmp_path / "a.safetensors").exists()


def test_a_backbone_that_a_method_was_not_made_for_is_warned_of_and_recorded(
    typed: Typed, tmp_path: Path
) -> None:
    done = typed(
        "run -m insid3 -m prototype -d mini-lesion --backbone vit-mini --episodes 1 --no-cost "
        "--results r"
    )
    assert done.exit_code == 0, done.output
    told = "made for dinov3-l16, here vit-mini"
    assert done.stderr.count("warning: ") == 1
    assert f"warning: insid3: {told}; its tables say so" in done.stderr
    notes = {r.method.label: r.notes for r in records(tmp_path / "r")}
    assert told in notes["insid3"]
    assert not any("made for" in note for note in notes["prototype"])
