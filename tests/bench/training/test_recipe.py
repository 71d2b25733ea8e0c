"""What may be changed of a recipe: optimiser, rates, clipping, averaging; values and refusals."""

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdfss_bench.bench.training.distributed import Processes
from cdfss_bench.bench.training.job import reproduction
from cdfss_bench.bench.training.network import optimizer_of
from cdfss_bench.bench.training.plan import read_training_plan
from cdfss_bench.bench.training.planned_trainings import planned
from cdfss_bench.bench.training.rates import factor, parameter_groups
from cdfss_bench.bench.training.trainer import initialised, train
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.card import Recipe
from cdfss_bench.methods.weights.checkpoints import read_checkpoint

from ...support.trainings import EVERYTHING, job_of, written

PLAIN: dict[str, Any] = {"optimizer": "sgd", "momentum": 0, "weight_decay": 0}


def factors(total: int, **changed: Any) -> list[float]:
    recipe = Recipe(optimizer="sgd", lr=1, batch=1, episodes=total, **changed)
    return [factor(recipe, step, total) for step in range(total)]


def published(curve: type[Any], total: int, **options: Any) -> list[float]:
    """The rates of one of torch's schedules."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    course, rates = curve(optimizer, **options), list[float]()
    for _ in range(total):
        rates.append(course.get_last_lr()[0])
        optimizer.step()
        course.step()
    return rates


def moved(path: Path, **changed: Any) -> dict[str, Tensor]:
    """How far one step of SSP goes, by published key, from a common start."""
    asked: dict[str, Any] = {**PLAIN, "episodes": 2, "freeze": ["none"], **changed}
    job, output = job_of(path, **asked)
    start = initialised(job).state_dict()
    train(job, output)
    return {name: after - start[name] for name, after in read_checkpoint(output).tensors.items()}


def test_the_rate_rises_linearly_and_then_falls_as_torch_has_it() -> None:
    constant = factors(6, warmup=4)
    assert constant == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = factors(10, warmup=2, schedule="cosine")
    expected = published(torch.optim.lr_scheduler.CosineAnnealingLR, 8, T_max=8)
    assert cosine == pytest.approx([0.5, 1.0, *expected])
    assert cosine[6] == pytest.approx(0.5)
    poly = published(torch.optim.lr_scheduler.PolynomialLR, 8, total_iters=8, power=0.9)
    assert factors(8, schedule="poly") == pytest.approx(poly)
    assert factors(8, schedule=(0.5, 0.75)) == pytest.approx([1.0] * 4 + [0.1] * 2 + [0.01] * 2)


def test_a_part_goes_as_far_as_its_own_rate(tmp_path: Path) -> None:
    whole = moved(tmp_path / "whole", lr=0.1)
    part = moved(tmp_path / "part", lr=0.1, lr_part=["backbone.layer3=0.01"])
    assert whole.keys() == part.keys()
    inside = [name for name in whole if name.startswith("layer3.")]
    assert 0 < len(inside) < len(whole)
    for name, distance in whole.items():
        share = 0.1 if name in inside else 1.0
        torch.testing.assert_close(part[name], share * distance, rtol=1e-2, atol=1e-6)


def test_the_longest_name_of_a_part_wins(tmp_path: Path) -> None:
    parts = ["backbone=0.1", "backbone.layer3=0.2", "head=0.3"]
    job, _ = job_of(tmp_path, "hsnet", freeze=["none"], lr_part=parts)
    network = initialised(job)
    rates = {
        id(parameter): group["initial_lr"]
        for group in parameter_groups(network, job.recipe)
        for parameter in group["params"]
    }
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            inside = 0.2 if name.startswith("backbone.layer3.") else 0.1
            assert rates[id(parameter)] == (inside if name.startswith("backbone.") else 0.3), name


def test_the_optimiser_is_the_one_that_was_typed(tmp_path: Path) -> None:
    for name, kind in (("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        job, _ = job_of(tmp_path, "hsnet", optimizer=name, weight_decay=0.02)
        optimizer = optimizer_of(initialised(job), job.recipe)
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["weight_decay"] == 0.02


def test_adamw_decays_as_in_torch_where_the_recipe_says_nothing(tmp_path: Path) -> None:
    assert job_of(tmp_path, "hsnet", optimizer="adamw")[0].recipe.weight_decay == 0.01
    own = job_of(tmp_path, "hsnet", optimizer="adamw", weight_decay=0.0)[0].recipe
    assert own.weight_decay == 0.0


def test_a_gradient_is_cut_to_the_length_that_was_typed(tmp_path: Path) -> None:
    def length(distances: dict[str, Tensor]) -> float:
        return math.sqrt(sum(float(d.double().square().sum()) for d in distances.values()))

    free = length(moved(tmp_path / "free", lr=10.0))
    assert free > 0.1
    cut = moved(tmp_path / "cut", lr=10.0, clip_norm=free / 100)
    assert length(cut) == pytest.approx(free / 10, rel=1e-3)


def test_the_moving_average_is_what_is_kept_and_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after(steps: int, **changed: Any) -> dict[str, Tensor]:
        folder = tmp_path / f"{steps}{len(changed)}"
        asked = {"episodes": 2 * steps, "schedule": "constant", "lr": 0.1, "hold_out": 0.1}
        job, output = job_of(folder, **asked, validate_every=1.0, **changed)
        train(job, output)
        return written(output)[0]

    validated: dict[str, Tensor] = {}

    def asked(network: nn.Module, *_: object) -> float:
        validated.update({k: t.clone() for k, t in network.state_dict().items()})
        return 1.0

    monkeypatch.setattr("cdfss_bench.bench.training.trainer.miou", asked)
    first, second, third = (after(steps) for steps in (1, 2, 3))
    kept = after(3, ema=0.75)
    for name, value in kept.items():
        average = 0.75 * (0.75 * first[name] + 0.25 * second[name]) + 0.25 * third[name]
        torch.testing.assert_close(value, average)
        assert torch.equal(value, validated[name])
    assert any(not torch.equal(kept[name], third[name]) for name in kept)


def test_the_header_names_every_change_and_an_untouched_recipe_none(tmp_path: Path) -> None:
    job, path = job_of(tmp_path / "own", episodes=6, **EVERYTHING)
    train(job, path)
    _, card = written(path)
    assert card.recipe["lr_parts"] == {"backbone.layer3": 1e-4}
    expected = {
        "optimizer": ("sgd", "adamw"),
        "schedule": ([2 / 3], "cosine"),
        "warmup": (None, 2),
        "lr_parts": (None, "backbone.layer3=0.0001"),
        "clip_norm": (None, 1.5),
        "ema": (None, 0.9),
    }
    assert {key: card.deviations.get(key) for key in expected} == expected
    assert "lr_parts backbone.layer3=0.0001" in card.trained_on
    job, path = job_of(tmp_path / "plain", episodes=2)
    train(job, path)
    assert not {"warmup", "lr_parts", "clip_norm", "ema"} & set(written(path)[1].recipe)


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("ssp", EVERYTHING),
        ("ssp", {"optimizer": "adam", "schedule": [0.5, 0.75], "lr": 0.00123456789}),
        ("ssp", {"optimizer": "adamw", "weight_decay": 0, "schedule": "poly"}),
        ("ssp", {"momentum": 0.5}),
        ("hsnet", {"memory": 2}),
    ],
)
def test_the_recorded_command_gives_the_same_recipe(
    method: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    job, _ = job_of(tmp_path, method, **changed)
    words, typed = shlex.split(reproduction(job))[2:], dict[str, Any]()
    for flag, value in zip(words[::2], words[1::2], strict=True):
        key = {"-m": "methods", "--seed": "seeds"}.get(flag, flag[2:].replace("-", "_"))
        if key in ("methods", "seeds", "freeze", "lr_part"):
            typed.setdefault(key, []).append(value)
        else:
            typed[key] = value
    (again,) = planned(
        read_training_plan(None, typed), tmp_path, device="cpu", processes=Processes()
    )
    assert again.job.recipe == job.recipe


def test_a_plan_file_has_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "methods: ssp\nsource: mini\noptimizer: adamw\nschedule: [0.5]\nwarmup: 3\nema: 0.99\n"
        "lr_part: {backbone.layer3: 1e-4}\nclip_norm: 1\nwandb: true\n"
    )
    plan = read_training_plan(file, {})
    (one,) = planned(plan, tmp_path, device="cpu", processes=Processes())
    recipe = one.job.recipe
    assert (recipe.optimizer, recipe.schedule, recipe.warmup) == ("adamw", (0.5,), 3)
    assert (recipe.lr_parts, recipe.clip_norm, recipe.ema) == ({"backbone.layer3": 1e-4}, 1, 0.99)
    assert plan.wandb


@pytest.mark.parametrize(
    ("changed", "sentence", "hint"),
    [
        ({"optimizer": "adamv"}, "unknown optimizer 'adamv'", "did you mean adam or adamw"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'", "did you mean cosine"),
        ({"schedule": "0.5,0.2"}, "--schedule 0.5,0.2 does not name parts", "0.5,0.75"),
        ({"schedule": [1.5]}, "--schedule 1.5 does not name parts", "0.5,0.75"),
        ({"warmup": 6}, "warm-up of 6 steps leaves nothing of the 6 steps", "--warmup"),
        ({"warmup": -1}, "--warmup is -1", "leave --warmup out"),
        ({"lr": math.nan}, "--lr is nan", "leave --lr out"),
        ({"weight_decay": -0.1}, "--weight-decay is -0.1", "leave"),
        ({"clip_norm": math.inf}, "--clip-norm is inf", "leave"),
        ({"ema": 1.0}, "--ema is 1, and must be at least 0 and less than 1", "0.999"),
        ({"momentum": 1.5}, "--momentum is 1.5", "0.9"),
        ({"momentum": 0.9, "optimizer": "adamw"}, "--momentum belongs to SGD", "leave --momentum"),
        ({"memory": -1}, "--memory is -1", "leave --memory out"),
        ({"lr_part": ["backbone"]}, "--lr-part backbone is not NAME=RATE", "backbone=1e-4"),
        ({"lr_part": ["backbone=0"]}, "with a positive rate", "--freeze"),
        ({"lr_part": ["head=1", "head=2"]}, "a part that is named once", "--freeze"),
        ({"lr_part": ["neck=1"]}, "'neck', in which nothing is trained", "backbone.layer3"),
        ({"lr_part": ["backbone.layer1=1"]}, "in which nothing is trained", "backbone.layer3"),
    ],
)
def test_an_impossible_value_is_refused_with_a_hint(
    changed: dict[str, Any], sentence: str, hint: str, tmp_path: Path
) -> None:
    def understood() -> None:
        job, _ = job_of(tmp_path, **changed)
        initialised(job)
        optimizer_of(initialised(job), job.recipe)

    with pytest.raises(UserError) as caught:
        understood()
    assert sentence in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.hint is not None
    assert hint in caught.value.hint
