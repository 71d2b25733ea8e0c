"""A training's log for W&B, told to a stand-in of its library."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cdfss_bench.bench.training.conduct import Conduct, Files, Step
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.bench.training.wandb_run import check_wandb
from cdfss_bench.errors import UserError

from ...support.trainings import job_of


class Library(ModuleType):
    """As much of `wandb` as is used."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.told: dict[int, dict[str, object]] = {}
        self.finished = 0
        self.refusal: Exception | None = None

    def init(self, **options: Any) -> Library:
        if self.refusal is not None:
            raise self.refusal
        self.begun.append(options)
        return self

    def log(self, numbers: dict[str, object], *, step: int) -> None:
        self.told.setdefault(step, {}).update(numbers)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    stand_in = Library()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    return stand_in


def test_a_run_is_told_what_the_log_tells_and_goes_on_when_resumed(
    tmp_path: Path, library: Library
) -> None:
    def stop(step: Step) -> None:
        if step.number == 3:
            raise KeyboardInterrupt

    job, output = job_of(
        tmp_path, hold_out=0.3, schedule="constant", lr_part=["backbone.layer3=1e-4"]
    )
    with pytest.raises(KeyboardInterrupt):
        train(job, output, Conduct(save_every=2, listener=stop, wandb=True))
    train(job, output, Conduct(wandb=True))
    first, second = library.begun
    assert first["id"] == second["id"]
    assert first["resume"] == "allow"
    assert first["dir"] == str(Files(output).wandb)
    assert first["config"]["recipe"]["lr_parts"] == {"backbone.layer3": 1e-4}
    assert library.finished == 2
    lines = [json.loads(line) for line in Files(output).log.path.read_text().splitlines()]
    for line in lines:
        told = library.told[line["step"]]
        if "loss" in line:
            assert (told["loss"], told["rate"]) == (line["loss"], line["lr"])
            assert told["rate/backbone.layer3"] == line["lr_parts"]["backbone.layer3"] == 1e-4
        else:
            assert told["miou/source-val"] == line["source_val_miou"]
    assert any("source_val_miou" in line for line in lines)
    train(job, output, Conduct(fresh=True, wandb=True))
    assert library.begun[2]["id"] != first["id"]


def test_a_refusal_of_the_library_is_one_sentence(tmp_path: Path, library: Library) -> None:
    library.refusal = RuntimeError("api_key not configured (no-tty)\nand more")
    job, output = job_of(tmp_path, episodes=2)
    with pytest.raises(UserError, match=r"W&B does not begin a run: api_key not .*\(no-tty\)") as e:
        train(job, output, Conduct(wandb=True))
    assert e.value.hint is not None
    assert "WANDB_MODE=offline" in e.value.hint
    assert "and more" not in e.value.problem


def test_without_the_library_the_hint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="not installed") as caught:
        check_wandb()
    assert caught.value.hint == "pip install 'cdfss-bench[wandb]'"


def test_a_folder_of_runs_is_not_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match="not installed"):
        check_wandb()
