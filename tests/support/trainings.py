"""Trainings of a few steps on the mini source, and what they leave."""

from pathlib import Path
from typing import Any

from torch import Tensor

from cdfss_bench.bench.training.conduct import Conduct
from cdfss_bench.bench.training.distributed import Processes
from cdfss_bench.bench.training.job import Job
from cdfss_bench.bench.training.plan import TrainingPlan, read_training_plan
from cdfss_bench.bench.training.planned_trainings import planned
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.methods.weights.card import WeightsCard
from cdfss_bench.methods.weights.checkpoints import read_checkpoint

SMALL: dict[str, Any] = {"source": "mini", "episodes": 12, "batch": 2, "val_episodes": 4}

EVERYTHING: dict[str, Any] = {
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup": 2,
    "lr_part": ["backbone.layer3=1e-4"],
    "clip_norm": 1.5,
    "ema": 0.9,
}
"""A change of every part of a recipe."""


def plan_of(method: str = "ssp", **changed: Any) -> TrainingPlan:
    return read_training_plan(None, {**SMALL, "methods": [method], **changed})


def job_of(folder: Path, method: str = "ssp", **changed: Any) -> tuple[Job, Path]:
    plan = plan_of(method, **changed)
    (one,) = planned(plan, folder, device="cpu", processes=Processes())
    return one.job, one.output


def trained(folder: Path, method: str, budget: int = 0, **changed: Any) -> tuple[Path, list[float]]:
    """The weights of a training that may keep `budget` bytes, and the losses of its steps."""
    job, path = job_of(folder, method, **changed)
    losses: list[float] = []
    train(job, path, Conduct(memory=budget, listener=lambda step: losses.append(step.loss or 0.0)))
    return path, losses


def written(path: Path) -> tuple[dict[str, Tensor], WeightsCard]:
    checkpoint = read_checkpoint(path)
    assert checkpoint.card is not None
    return dict(checkpoint.tensors), checkpoint.card
