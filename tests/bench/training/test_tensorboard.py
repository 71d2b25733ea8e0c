"""A training's log for TensorBoard, read back."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.training.conduct import Conduct, Files
from cdfss_bench.bench.training.tensorboard import Scalars, check_tensorboard
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.bench.training.validation import Targets
from cdfss_bench.datasets import open_domain
from cdfss_bench.errors import UserError

from ...support.trainings import job_of


def read_back(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_tensorboard_is_told_what_the_log_and_the_curve_tell(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    chest = open_domain("mini-chest")
    job, output = job_of(tmp_path, hold_out=0.3)
    train(job, output, Conduct(targets=Targets([chest], 2, 0.01), tensorboard=True))
    found = read_back(Files(output).scalars)
    lines = [json.loads(line) for line in Files(output).log.path.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 6
    assert found["loss"] == [(s["step"], pytest.approx(s["loss"])) for s in steps]
    assert found["rate"] == [(s["step"], pytest.approx(s["lr"])) for s in steps]
    for name in steps[0]["terms"]:
        expected = [(s["step"], pytest.approx(s["terms"][name])) for s in steps]
        assert found[f"terms/{name}"] == expected
    validated = [line for line in lines if "source_val_miou" in line]
    assert found["miou/source-val"] == [
        (v["step"], pytest.approx(v["source_val_miou"])) for v in validated
    ]
    curve = [json.loads(line) for line in Files(output).curve.path.read_text().splitlines()]
    assert found["miou/mini-chest"] == [(c["step"], pytest.approx(c["miou"])) for c in curve]


def test_what_a_resumed_training_does_again_is_told_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for first, losses in ((0, (4.0, 3.0, 2.0)), (1, (2.5, 1.5))):
        scalars = Scalars(tmp_path, first)
        for step, loss in enumerate(losses, start=first + 1):
            scalars.add({"step": step, "loss": loss, "lr": 0.1})
        scalars.close()
    assert read_back(tmp_path)["loss"] == [(1, 4.0), (2, 2.5), (3, 1.5)]


def test_without_tensorboard_the_hint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match="not installed") as caught:
        check_tensorboard()
    assert caught.value.hint == "pip install 'cdfss-bench[tensorboard]'"
