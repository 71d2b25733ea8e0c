"""The gate catches what it must, and nothing else."""

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.evaluation import evaluator as evaluate
from cdfss_bench.bench.evaluation import prediction
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.regression.baseline import (
    SLOWER,
    TOLERANCE,
    Baseline,
    GateCell,
    compared,
    exit_code,
    markdown,
    read_baseline,
)
from cdfss_bench.bench.regression.measure import measured, narrowed
from cdfss_bench.datasets.core import domain as domain_module
from cdfss_bench.errors import RecordError, UserError
from cdfss_bench.methods.blocks import self_support
from cdfss_bench.methods.core import host
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.hosts.ssp import SSP

from ...conftest import CHECKOUT
from ...support import trees
from ...support.program import typed
from ...support.shown import mistake

Patch = pytest.MonkeyPatch

SMALL = Selection(methods=("ssp",), domains=("mini-lesion",), suite="mini", episodes=6)


@pytest.fixture(scope="module")
def before() -> Baseline:
    """What the committed weights give, in this process."""
    return measured(SMALL)


def wrapped(method: type, name: str, patch: Patch, around: Callable[..., Any]) -> None:
    """Replaces `method.name` by `around(original, self, ...)`."""
    original = getattr(method, name)

    def replacement(self: Any, *values: Any, **named: Any) -> Any:
        return around(original, self, *values, **named)

    patch.setattr(method, name, replacement)


def changed_threshold(patch: Patch) -> None:
    patch.setattr(self_support, "FORE_THRESHOLD", 0.9)


def swapped_interpolation(patch: Patch) -> None:
    def nearest(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return torch.nn.functional.interpolate(logits.flatten(0, -4), size, mode="nearest").reshape(
            *logits.shape[:-2], *size
        )

    patch.setattr(host, "upsampled", nearest)


def dropped_normalisation(patch: Patch) -> None:
    def plain(images: np.ndarray[Any, Any], _device: str) -> torch.Tensor:
        return torch.from_numpy(np.array(images)).movedim(-1, -3).float() / 255

    patch.setattr(evaluate, "normalised", plain)


def swapped_channels(patch: Patch) -> None:
    kept = evaluate.normalised
    patch.setattr(evaluate, "normalised", lambda images, device: kept(images[..., ::-1], device))


def changed_blend(patch: Patch) -> None:
    # The refined map alone, without the share of the first one.
    wrapped(SSP, "self_supported", patch, lambda original, self, *v: original(self, *v[:2], v[1]))


def slower_path(patch: Patch) -> None:
    def busy(original: Callable[..., Any], self: Any, *v: Any, **n: Any) -> Any:
        began = time.process_time()
        while time.process_time() - began < 0.4:
            pass
        return original(self, *v, **n)

    wrapped(SSP, "score", patch, busy)


def more_flops(patch: Patch) -> None:
    def wasteful(original: Callable[..., Any], self: Any, query: Any, *v: Any, **n: Any) -> Any:
        torch.ones(8, 8).matmul(torch.ones(8, 8))
        return original(self, query, *v, **n)

    wrapped(SSP, "score", patch, wasteful)


def fewer_flops(patch: Patch) -> None:
    # A part is skipped: cheaper, and no longer the method.
    original = prediction.build

    def without(*values: Any, **named: Any) -> Method:
        network = original(*values, **named)
        assert isinstance(network, SSP)
        network.refine = False
        return network

    patch.setattr(prediction, "build", without)


def more_parameters(patch: Patch) -> None:
    def padded(original: Callable[..., Any], self: Any, *v: Any, **n: Any) -> None:
        original(self, *v, **n)
        self.spare = torch.nn.Parameter(torch.zeros(1))

    wrapped(SSP, "__init__", patch, padded)
    patch.setattr(SSP, "keys_without_training", ("spare",))

    def load(network: Method, weights: Any) -> None:
        spare = network.get_parameter("spare")
        del network.spare
        kept(network, weights)
        network.register_parameter("spare", spare)

    kept = prediction.load_weights
    patch.setattr(prediction, "load_weights", load)


def other_episodes(patch: Patch) -> None:
    kept = domain_module.patnet_episodes

    def shifted(*values: Any, rng: np.random.RandomState, **named: Any) -> Any:
        rng.permutation(3)
        return kept(*values, rng=rng, **named)

    patch.setattr(domain_module, "patnet_episodes", shifted)


def inverted_support(patch: Patch) -> None:
    wrapped(
        SSP,
        "support_states",
        patch,
        lambda original, self, rows, masks: original(self, rows, 1 - masks),
    )


def shifted_truth(patch: Patch) -> None:
    kept = evaluate.count
    patch.setattr(evaluate, "count", lambda p, t, i=None: kept(p, t.roll(1, -1), i))


def noisy_weights(patch: Patch) -> None:
    kept = prediction.load_weights

    def load(network: Method, weights: Any) -> None:
        kept(network, weights)
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * parameter.std() * torch.randn(parameter.shape, generator=rng))

    patch.setattr(prediction, "load_weights", load)


PLANTED: dict[Callable[[Patch], None], str] = {
    changed_threshold: "mIoU",
    swapped_interpolation: "mIoU",
    dropped_normalisation: "mIoU",
    swapped_channels: "mIoU",
    changed_blend: "mIoU",
    inverted_support: "mIoU",
    shifted_truth: "mIoU",
    noisy_weights: "mIoU",
    slower_path: "time",
    more_flops: "FLOPs",
    fewer_flops: "FLOPs",
    more_parameters: "parameters",
    other_episodes: "episodes",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_regression_is_caught(
    plant: Callable[[Patch], None], before: Baseline, monkeypatch: Patch
) -> None:
    plant(monkeypatch)
    findings = compared(before.cells, measured(SMALL).cells)
    caught = {finding.what for finding in findings if finding.verdict != "fine"}
    assert PLANTED[plant] in caught
    # Some raise the mIoU of so few episodes by luck: the project's own gate is a strict one.
    assert exit_code(findings, strict=True) == (2 if plant is other_episodes else 1)


@pytest.mark.parametrize("repetitions", [3, pytest.param(50, marks=pytest.mark.long)])
def test_no_clean_repetition_is_called_a_regression(repetitions: int) -> None:
    tiny = SMALL.model_copy(update={"methods": ("prototype",), "episodes": 2})
    first = measured(tiny)
    for _ in range(repetitions):
        findings = compared(first.cells, measured(tiny).cells)
        assert exit_code(findings) == 0, markdown(findings)


def cell(**changes: Any) -> GateCell:
    values: dict[str, Any] = {
        "method": "ssp", "composition": "ssp", "backbone": "resnet-mini", "domain": "mini-chest",
        "shots": 1, "seed": 0, "protocol": "patnet", "episodes": 6, "episodes_sha256": "e",
        "fingerprint": "f", "weights_sha256": ("a", "b"), "evaluator": 1, "miou": 50.0,
        "params": 1000, "flops": 10**9, "time": 4.0,
    }  # fmt: skip
    return GateCell.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, 0),
        ({"miou": 50 + 0.9 * TOLERANCE}, 0),
        ({"miou": 50 + 1.1 * TOLERANCE}, 0),
        ({"miou": 50 - 1.1 * TOLERANCE}, 1),
        ({"params": 1001}, 1),
        ({"params": 999}, 0),
        ({"flops": 10**9 - 1}, 0),
        ({"flops": 10**9 + 1}, 1),
        ({"flops": 10**9 - 1, "params": 1001}, 1),
        ({"time": 4 * SLOWER - 0.1}, 0),
        ({"time": 4 * SLOWER + 0.1}, 1),
        ({"time": 0.1}, 0),
        ({"weights_sha256": ("a", "c")}, 2),
        ({"episodes_sha256": "x"}, 2),
        ({"evaluator": 2}, 2),
        ({"fingerprint": "x"}, 2),
        ({"seed": 1}, 2),
    ],
)
def test_exit_codes(change: dict[str, Any], code: int) -> None:
    findings = compared([cell()], [cell(**change)])
    assert exit_code(findings) == code
    text = markdown(findings)
    assert {0: "**No regression**", 1: "**Regression**", 2: "**Not comparable**"}[code] in text


@pytest.mark.parametrize(
    ("was", "now", "code"), [(7, 7, 0), (7, 8, 1), (0, 8, 1), (7, 0, 0), (None, 8, 0)]
)
def test_transforms_are_gated_where_the_baseline_knows_them(
    was: int | None, now: int, code: int
) -> None:
    assert exit_code(compared([cell(fft=was)], [cell(fft=now)])) == code


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"miou": 50 + 1.1 * TOLERANCE}, "mIoU"),
        ({"params": 999}, "parameters"),
        ({"flops": 10**9 - 1}, "FLOPs"),
        ({"time": 4 / SLOWER - 0.1}, "time"),
    ],
)
def test_an_improvement_is_told_and_is_no_regression(change: dict[str, Any], what: str) -> None:
    findings = compared([cell()], [cell(**change)])
    assert [(f.what, f.verdict) for f in findings if f.verdict != "fine"] == [
        (what, "changed (better)")
    ]
    assert (exit_code(findings), exit_code(findings, strict=True)) == (0, 1)
    assert markdown(findings, strict=True).splitlines()[2].startswith("**Changed (better)**")
    assert "3 figures of 1 cells are as in the baseline, 1 changed (better)." in markdown(findings)


def test_a_difference_of_microseconds_trips_nothing() -> None:
    assert exit_code(compared([cell(time=0.01)], [cell(time=0.4)])) == 0


def test_nothing_measured_is_no_success() -> None:
    assert exit_code([]) == 2
    assert exit_code(compared([cell()], [])) == 2


def test_the_committed_baseline_is_that_of_this_checkout() -> None:
    """A part of it; `cdfss-bench check` runs all of it."""
    committed = read_baseline(CHECKOUT / "results" / "baseline.json")
    part = narrowed(committed, ["ssp"], ["mini-lesion"])
    findings = compared(part.cells, measured(Selection.model_validate(part.selection)).cells)
    assert exit_code(findings) == 0, markdown(findings)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 2}', "\x00"])
def test_a_damaged_baseline_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(RecordError, match=r"b\.json is not a readable baseline"):
        read_baseline(tmp_path / "b.json")


def test_from_the_command_line(tmp_path: Path) -> None:
    file, summary = tmp_path / "b.json", tmp_path / "summary.md"
    typed = CliRunner()

    def check(*words: str) -> Any:
        return typed.invoke(app, ["check", "--baseline", str(file), *words])

    missing = check()
    assert isinstance(missing.exception, RecordError)
    written = check("--update", "-m", "all-foreground", "-d", "mini-chest", "--episodes", "2")
    assert written.exit_code == 0, written.output
    fine = check("--summary", str(summary))
    assert (fine.exit_code, fine.stdout) == (0, "no regression\n")
    assert "No regression" in summary.read_text()
    baseline = read_baseline(file)
    baseline.cells[0].miou += 1
    baseline.save(file)
    wrong = check("--summary", str(summary))
    assert wrong.exit_code == 1
    assert "REGRESSION" in wrong.stdout
    assert "| all-foreground · mini-chest · 1-shot · seed 0 | mIoU |" in summary.read_text()
    baseline.cells[0].miou -= 2
    baseline.save(file)
    better = check()
    assert (better.exit_code, "changed (better)" in better.stdout) == (0, True)
    assert "--update takes what is better into the baseline" in better.stderr
    strict = check("--strict")
    assert (strict.exit_code, strict.stdout.splitlines()[-1]) == (1, "CHANGED (BETTER)")
    again = check("--update")
    assert again.exit_code == 0
    assert "mIoU" in again.stdout  # what changed is shown
    assert check().exit_code == 0


@pytest.mark.parametrize("words", [("-k", "5"), ("--seed", "1"), ("--backbone", "resnet50")])
def test_an_option_that_would_be_ignored_is_refused(words: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    Baseline(selection={"methods": ["ssp"]}, cells=[cell()]).save(file)
    error = mistake("check", "--baseline", file, *words)
    assert "says what a new baseline holds" in error.problem


def test_every_flag_that_a_hint_names_is_one_of_check(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["check", "--help"], env={"COLUMNS": "200"}).stdout
    for flag in ("--weights", "--weights-dir", "--backbone", "--lists", "--suite", "--protocol"):
        assert f"{flag} " in shown
    words = ["--update", "-m", "hsnet[widths=4-8-16]", "-d", "mini-lesion"]
    error = mistake("check", "--baseline", tmp_path / "b.json", *words)
    named = set(re.findall(r"--[a-z-]+", (error.hint or "").partition(", or ")[2]))
    assert named
    assert all(f"{flag} " in shown for flag in named)


def test_the_workflow_of_a_method_installs_a_pinned_commit_and_types_what_exists() -> None:
    text = (CHECKOUT / "docs" / "workflows" / "method-gate.yml").read_text()
    workflow = yaml.safe_load(text)
    assert re.fullmatch(r"git\+https://\S+@COMMIT", workflow["env"]["CDFSS_BENCH"])
    steps = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    assert steps[0] == 'pip install "cdfss-bench @ $CDFSS_BENCH"'
    shown = CliRunner().invoke(app, ["check", "--help"], env={"COLUMNS": "200"}).stdout
    assert all(f"{flag} " in shown for flag in re.findall(r"--[a-z-]+", steps[1]))


def edited(baseline: Baseline, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    values = baseline.model_dump(mode="json", by_alias=True)
    change(values)
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("key", ["miou", "time", "params", "flops", "fft", "shots", "seed"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, "60", True, [1.0]])
def test_a_baseline_with_something_that_is_no_number_is_refused(
    key: str, value: object, before: Baseline, tmp_path: Path
) -> None:
    path = edited(before, tmp_path / "b.json", lambda v: v["cells"][0].update({key: value}))
    error = mistake("check", "--baseline", path)
    assert isinstance(error, RecordError)
    assert str(path) in error.problem


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["cells"][0].update(miou=100.5), "less than or equal to 100"),
        (lambda v: v["cells"][0].update(miou=None), "valid number"),
        (lambda v: v["cells"][0].update(episodes=0), "greater than or equal to 1"),
        (lambda v: v["cells"][0].update(tolerance=99), "extra"),
        (lambda v: v.update(cells=[]), "at least 1"),
        (lambda v: v.update(cells=v["cells"] * 2), "is there twice"),
        (lambda v: v["environment"].update(cpu=math.nan), "no number"),
        (lambda v: v["selection"]["methods"].append("hsnet"), "lacks 1 cell of"),
        (lambda v: v["selection"]["domains"].append("mini-chest"), "lacks 1 cell of"),
        (lambda v: v["selection"].update(shots=[1, 5]), "lacks 1 cell of"),
        (lambda v: v["selection"].update(seeds=[0, 1, 2]), "lacks 2 cells"),
        (lambda v: v["cells"][0].update(flops=10**400), "less than 9223372036854775808"),
    ],
)
def test_a_baseline_that_cannot_be_whole_is_refused(
    change: Callable[[dict[str, Any]], object], sentence: str, before: Baseline, tmp_path: Path
) -> None:
    path = edited(before, tmp_path / "b.json", change)
    with pytest.raises(RecordError, match=sentence):
        read_baseline(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bla": 1}, "b.json, selection: unknown key 'bla'"),
        ({"methods": 5}, "b.json, selection: 'methods.0'"),
        ({"shots": ["x"]}, "b.json, selection: 'shots.0'"),
        ({"protocol": 3}, "b.json, selection: 'protocol'"),
    ],
)
def test_a_selection_that_is_none_is_refused_with_the_file(
    change: dict[str, Any], sentence: str, before: Baseline, tmp_path: Path
) -> None:
    path = edited(before, tmp_path / "b.json", lambda v: v["selection"].update(change))
    with pytest.raises(UserError, match=re.escape(sentence)):
        read_baseline(path)


def test_a_baseline_that_an_editor_saved_is_read(before: Baseline, tmp_path: Path) -> None:
    path = edited(before, tmp_path / "b.json", lambda v: v["selection"].update(seeds="0"))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_baseline(path).cells == before.cells
    path.write_text(path.read_text(encoding="utf-8-sig"), encoding="utf-16")
    with pytest.raises(RecordError, match="it is no UTF-8 text"):
        read_baseline(path)


def test_what_the_hint_says_replaces_a_damaged_baseline(tmp_path: Path) -> None:
    path = tmp_path / "my baseline.json"
    path.write_text("")
    error = mistake("check", "--baseline", path)
    assert error.hint == f"cdfss-bench check --baseline '{path}' --update -m METHOD"
    assert isinstance(mistake("check", "--baseline", path, "--update"), RecordError)
    words = ["check", "--baseline", path, "--update", "-m", "all-foreground", "-d", "mini-chest"]
    done = typed([*words, "--episodes", "2"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("warning: ")
    assert "it is replaced" in done.stderr.splitlines()[0]
    assert len(read_baseline(path).cells) == 1


def test_a_refused_baseline_is_one_sentence_and_exit_code_2(
    before: Baseline, tmp_path: Path
) -> None:
    path = edited(before, tmp_path / "b.json", lambda v: v["cells"][0].update(miou=math.nan))
    done = typed(["check", "--baseline", path], tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path} is not a readable baseline (it holds NaN")
    assert "Traceback" not in done.stderr


def test_a_name_that_the_baseline_does_not_hold_is_refused(before: Baseline) -> None:
    with pytest.raises(UserError, match="no such method or domain: 'spp'"):
        narrowed(before, ["ssp", "spp"], [])


def test_a_baseline_remembers_which_cells_it_is_of(before: Baseline) -> None:
    assert before.selection["methods"] == ["ssp"]
    assert before.selection["domains"] == ["mini-lesion"]


@pytest.mark.parametrize("word", ["name=mugs", "path={root}"])
def test_own_data_are_opened_again_as_they_were_typed(tmp_path: Path, word: str) -> None:
    root = tmp_path / "data"
    trees.write_folder(root, ("cat",), count=2)
    opened = f"folder[{word.format(root=root)}]"
    asked = {"methods": ["all-foreground"], "data_root": root}
    path = tmp_path / "baseline.json"
    measured(Selection.model_validate({**asked, "domains": [opened]})).save(path)
    old = read_baseline(path)
    (cell,) = old.cells
    part = narrowed(old, (), (cell.domain,))
    assert old.asked["domains"] == part.asked["domains"] == [opened]
    again = measured(Selection.model_validate({**asked, "domains": part.asked["domains"]}))
    assert exit_code(compared(old.cells, again.cells)) == 0


def test_nothing_is_fine_with_what_is_no_number(before: Baseline) -> None:
    (cell,) = before.cells
    for key in ("miou", "time"):
        broken = cell.model_copy(update={key: math.nan})
        assert exit_code(compared([broken], [cell])) == 1
        assert exit_code(compared([cell], [broken])) == 1
