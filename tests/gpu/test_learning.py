"""Learning on the device: at test from an episode, and from the source."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.training.conduct import Conduct, Files, Step
from cdfss_bench.bench.training.distributed import Objective, Processes
from cdfss_bench.bench.training.job import Job
from cdfss_bench.bench.training.planned_trainings import planned
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import METHODS
from cdfss_bench.methods.core.contract import EpisodeBatch

from ..support.contract import episodes, fresh, trained_compositions
from ..support.trainings import plan_of
from .conftest import Measured
from .test_evaluator import adapting, counted, largest

pytestmark = pytest.mark.gpu

STEPS = 3
LEARNING = (
    "ifa[steps=3]",
    "ssp+lcm[auto=true]",
    "hsnet+apm-s[steps=3]",
    "hsnet+apm-m[steps=3]+acpa[steps=3]",
    "hsnet+finetune[steps=3]",
    "patnet+tfi[steps=3]",
    "patnet+tfi[steps=3,repair=soft_mask]",
)
SHARE = 0.01
"""Of an episode's pixels. Adam's first steps follow the sign of a gradient, so that rounding can
turn a step where a gradient is nearly zero: what is learnt differs more than what is matched."""


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("shots", [1, 3])
def test_what_learns_at_test_learns_the_same(
    name: str, shots: int, device: str, measured: Measured
) -> None:
    domain = open_domain("mini-lesion")
    asked = domain.episodes(shots, 0, "patnet", 3).episodes
    method = adapting(name)
    expected = counted(method, domain, asked, Settings())
    before = {key: value.cpu().clone() for key, value in method.state_dict().items()}
    found = counted(method, domain, asked, Settings(device))
    apart = largest(expected, found)
    measured("pixels", apart)
    assert apart <= SHARE * domain.card.image_size**2
    after = method.state_dict()
    assert all(torch.equal(after[key].cpu(), value) for key, value in before.items())


HOSTS = [name for name in METHODS.names() if METHODS.card(name).recipe]


def job_of(folder: Path, method: str, device: str, **changed: Any) -> tuple[Job, Path]:
    values = {"episodes": 2 * STEPS, "batch": 2, **changed}
    plan = plan_of(method, **values)
    (one,) = planned(plan, folder, device=device, processes=Processes())
    return one.job, one.output


def losses(folder: Path, method: str, device: str, **changed: Any) -> list[float | None]:
    job, path = job_of(folder, method, device, **changed)
    train(job, path)
    rows = [json.loads(line) for line in Files(path).log.path.read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize("name", [*HOSTS, "ssp+lem", "ssp-vit+lem"])
def test_losses_of_the_first_steps_are_the_cpus(
    name: str, device: str, tmp_path: Path, measured: Measured
) -> None:
    expected = losses(tmp_path / "cpu", name, "cpu")
    found = losses(tmp_path / "device", name, device)
    measured("losses", (expected, found))
    assert len(found) == STEPS
    for left, right in zip(found, expected, strict=True):
        assert left == (None if right is None else pytest.approx(right, rel=1e-3, abs=1e-5))


@pytest.mark.parametrize("name", ["ssp", "hsnet", "dra"])
def test_a_training_is_taken_up_on_the_device(name: str, device: str, tmp_path: Path) -> None:
    whole = losses(tmp_path / "whole", name, device)

    def stop(done: Step) -> None:
        if done.number == 2:
            raise KeyboardInterrupt

    job, path = job_of(tmp_path / "parts", name, device)
    with pytest.raises(KeyboardInterrupt):
        train(job, path, Conduct(save_every=1, listener=stop))
    found = losses(tmp_path / "parts", name, device)
    for left, right in zip(found, whole, strict=True):
        assert left == (None if right is None else pytest.approx(right, rel=1e-4))


@pytest.mark.parametrize("name", ["ssp", "hsnet", "fptrans"])
def test_bf16_trains_with_nearly_the_same_loss(name: str, device: str, tmp_path: Path) -> None:
    exact = losses(tmp_path / "fp32", name, device)
    reduced = losses(tmp_path / "bf16", name, device, precision="bf16")
    assert reduced == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("name", trained_compositions())
def test_gradients_are_the_cpus(name: str, device: str, measured: Measured) -> None:
    off, whole = gradients_apart(name, device)
    measured("error", float(off / whole))
    assert off <= 1e-3 * whole


def gradients_apart(name: str, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Norms of what the gradients on `device` differ by from the CPU's, and of the CPU's."""
    given = episodes(2, 1, 128).batch()
    slopes: list[dict[str, torch.Tensor]] = []
    for where in ("cpu", device):
        method = fresh(name).to(where).train()
        method.loss(on(given, where)).backward()
        named = method.named_parameters()
        slopes.append({key: p.grad.cpu().double() for key, p in named if p.grad is not None})
    expected, found = slopes
    assert expected.keys() == found.keys()
    whole = torch.stack([slope.norm() for slope in expected.values()]).norm()
    off = torch.stack([(found[key] - slope).norm() for key, slope in expected.items()]).norm()
    return off, whole


def on(batch: EpisodeBatch, device: str) -> EpisodeBatch:
    return replace(
        batch,
        query_images=batch.query_images.to(device),
        query_masks=batch.query_masks.to(device),
        support_images=batch.support_images.to(device),
        support_masks=batch.support_masks.to(device),
        rng=torch.Generator().manual_seed(0),
    )


def test_a_group_of_one_process_averages_to_the_same_gradient(cuda: str, tmp_path: Path) -> None:
    given = on(episodes(2, 1, 128).batch(), cuda)
    meeting = (tmp_path / "store").as_uri()
    dist.init_process_group("nccl", init_method=meeting, rank=0, world_size=1)
    try:
        slopes: list[list[torch.Tensor]] = []
        for shared in (False, True):
            objective = Objective(fresh("ssp").to(cuda).train(), Processes())
            module = (
                DistributedDataParallel(objective, find_unused_parameters=True)
                if shared
                else objective
            )
            module(replace(given, rng=torch.Generator().manual_seed(0)), 2)[0].backward()
            slopes.append([p.grad for p in objective.parameters() if p.grad is not None])
    finally:
        dist.destroy_process_group()
    assert len(slopes[0]) == len(slopes[1]) > 0
    for alone, averaged in zip(*slopes, strict=True):
        torch.testing.assert_close(averaged, alone, rtol=1e-3, atol=1e-5)
