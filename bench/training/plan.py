"""What `train` is asked: the same words as flags and in plan files, one training or many."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cdfss_bench.cards import validated
from cdfss_bench.datasets import Domain
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.card import Bug, Recipe
from cdfss_bench.methods.registry.name_grammar import Composition, parse
from cdfss_bench.methods.weights.card import read_card
from cdfss_bench.methods.weights.file_kinds import WEIGHTS_SUFFIXES, refuse_missing
from cdfss_bench.methods.weights.resolve import Weights, initial_for, pretrained_for
from cdfss_bench.methods.weights.search import default_folders, trained_name
from cdfss_bench.plain_yaml import read_yaml

from ..planning.plan_words import as_fields
from ..planning.selection import Selection, open_domains, plan_file
from .checkpoint import stored_seed
from .distributed import Processes
from .job import Job
from .recipe import RECIPE_WORDS, changed_recipe
from .sources import chosen_source, open_source, source_of_suite
from .validation import Targets

PLANS = Path(__file__).parent / "plans"
"""Ablations that come with the package, named without a path."""


class Evaluation(BaseModel):
    """What a plan asks of the weights that it trained; words as in `Selection`.

    Attributes:
        plugins: what each trained method carries at test, `+lcm`; an empty text is nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plugins: tuple[str, ...] = ("",)
    domains: tuple[str, ...] = ()
    shots: tuple[int, ...] = (1,)
    seeds: tuple[int, ...] = (0,)
    protocol: Literal["patnet", "strict"] = "patnet"
    episodes: int | None = Field(default=None, ge=1)


class TrainingPlan(BaseModel):
    """One or several trainings: the product of methods, frozen stages and seeds.

    Attributes:
        methods: names, composed as one likes.
        source: a name of `source_names`; `auto` for `pascal` where a data root is known,
            else `mini`.
        seeds: of everything drawn; empty for 0, or the time of day where that is as published.
        epochs: passes over all (class, image) pairs, instead of `episodes`.
        freeze: stages that are not trained; empty for the recipe's.
        select: which weights are kept.
        oracle: whether choosing weights on the targets is really meant.
        hold_out: share of the source that is not trained on; None: a tenth where weights are
            selected on it, else nothing.
        eval_targets_every: fraction of an epoch after which the targets are asked, as a diagnosis.
        domains: the targets; empty for all of the suite.
        schedule: `constant`, the name of a curve, or parts of the training after which the rate is
            divided by ten.
        lr_part: rates of single parts, or texts `NAME=RATE`.
        memory: GiB of features of a frozen backbone that are kept.
        tensorboard: whether the log is written for TensorBoard too.
        wandb: whether W&B is told too.
        evaluate: what is run with each training's weights.

    The others override the recipe's entry of that name, or mean what they mean in `run`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = Field(min_length=1)
    source: str = "auto"
    backbone: str | None = None
    seeds: tuple[int, ...] = ()
    episodes: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    lr: float | None = None
    optimizer: str | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: str | tuple[float, ...] | None = None
    warmup: int | None = None
    lr_part: dict[str, float] | tuple[str, ...] = ()
    clip_norm: float | None = None
    ema: float | None = None
    memory: float | None = None
    freeze: tuple[str, ...] = ()
    init: str | None = None
    sam: float | None = Field(default=None, ge=0)
    as_published: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    select: Literal["last", "source-val", "target-oracle"] = "last"
    oracle: bool = False
    hold_out: float | None = Field(default=None, ge=0, le=0.9)
    validate_every: float = Field(default=0.1, gt=0, le=1)
    val_episodes: int = Field(default=200, ge=1)
    eval_targets_every: float | None = Field(default=None, gt=0)
    eval_episodes: int = Field(default=100, ge=1)
    domains: tuple[str, ...] = ()
    data_root: Path | None = None
    lists: Path | None = None
    weights_dirs: tuple[Path, ...] = ()
    tensorboard: bool = False
    wandb: bool = False
    evaluate: Evaluation | None = None

    @field_validator("methods", "seeds", "freeze", "domains", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        many = value if isinstance(value, list | tuple) else (value,)
        # YAML reads the stage `1` as a number.
        return [str(one) if isinstance(one, int) else one for one in many]

    @field_validator("schedule", "lr_part", mode="before")
    @classmethod
    def _one_number_or_text(cls, value: Any, info: ValidationInfo) -> Any:
        single = str if info.field_name == "lr_part" else float
        return (value,) if isinstance(value, single) else value

    @model_validator(mode="after")
    def _means_one_thing(self) -> TrainingPlan:
        if self.episodes is not None and self.epochs is not None:
            raise ValueError("episodes and epochs say the same thing: give one of them")
        if self.memory is not None and self.compile:
            raise ValueError(
                "memory and compile exclude each other: kept features are not compiled"
            )
        if self.select == "target-oracle" and not self.oracle:
            raise ValueError(
                "target-oracle chooses weights by target labels and marks them so for ever; "
                "if that is meant, say --oracle"
            )
        return self

    @property
    def is_mini(self) -> bool:
        """Whether the source is the mini suite's."""
        return chosen_source(self.source, self.data_root) == source_of_suite("mini")

    @property
    def share_held_out(self) -> float:
        """`hold_out` decided."""
        if self.hold_out is not None:
            return self.hold_out
        return 0.1 if self.select == "source-val" else 0.0

    @property
    def folders(self) -> list[Path]:
        """Where weights are looked for, in order."""
        return [*self.weights_dirs, *default_folders()]


@dataclass(frozen=True, slots=True)
class Planned:
    """One training of a plan.

    Attributes:
        job: what is trained.
        output: the weights file.
        targets: of the diagnostic curve, or of an oracle.
    """

    job: Job
    output: Path
    targets: Targets | None


def read_training_plan(plan: Path | None, typed: dict[str, Any]) -> TrainingPlan:
    """A plan file, or one that comes with the package, with what was typed on top.

    Raises:
        UserError: naming the key that is wrong, or the plans that there are.
    """
    values: dict[str, Any] = {}
    where: Path | str = "the command line"
    if plan is not None:
        where = plan_file(plan, PLANS)
        values = as_fields(read_yaml(where), where)
    if {"episodes", "epochs"} & set(typed):
        values = {k: v for k, v in values.items() if k not in ("episodes", "epochs")}
    merged = {**values, **typed}
    if not merged.get("methods"):
        raise UserError("no method is named", hint="name one with -m, or use --pretrain")
    return validated(TrainingPlan, merged, where)


def planned(
    plan: TrainingPlan, output: Path, *, device: str, processes: Processes
) -> Iterator[Planned]:
    """Every training of a plan, one after the other: one may start from another's weights.

    Where a plan has several seeds or frozen stages, each has a folder of its own in `output`.

    Raises:
        UserError: for names and values that mean nothing, or missing weights.
    """
    domain = open_source(chosen_source(plan.source, plan.data_root), plan.data_root, plan.lists)
    targets = _targets(plan)
    for method in plan.methods:
        composition, recipe = _composed(method, is_mini=plan.is_mini)
        for frozen in plan.freeze or (None,):
            for seed in plan.seeds or (None,):
                folder = output
                if len(plan.freeze) > 1:
                    folder /= f"freeze={frozen}"
                if len(plan.seeds) > 1:
                    folder /= f"seed={seed}"
                resolved = _changed(recipe, plan, frozen, domain, method)
                yield _planned(
                    plan, composition, resolved, domain, targets, seed, folder, device, processes
                )


def evaluations(
    plan: TrainingPlan, done: Planned, *, episodes: int | None = None, shots: Sequence[int] = ()
) -> Iterator[Selection]:
    """What `run` shall do with the weights of one training.

    Args:
        plan: that it belongs to.
        done: the training.
        episodes: the first so many only, instead of the plan's.
        shots: supports per episode, instead of the plan's.

    Raises:
        UserError: if a value is not legal.
    """
    if plan.evaluate is None:
        return
    asked = plan.evaluate.model_dump(exclude={"plugins"})
    if episodes is not None:
        asked["episodes"] = episodes
    if shots:
        asked["shots"] = tuple(shots)
    for plugins in plan.evaluate.plugins:
        method = f"{done.job.composition.label}{plugins}"
        values = {
            **asked,
            "methods": (method,),
            "weights": {method: done.output},
            "suite": "mini" if plan.is_mini else "cdfss",
            "backbone": done.job.weights.backbone,
            "data_root": plan.data_root,
            "lists": plan.lists,
            "weights_dirs": plan.weights_dirs,
        }
        yield validated(Selection, values, "the plan")


def _planned(
    plan: TrainingPlan,
    composition: Composition,
    recipe: Recipe,
    domain: Domain,
    targets: Targets | None,
    seed: int | None,
    folder: Path,
    device: str,
    processes: Processes,
) -> Planned:
    weights = pretrained_for(
        composition, backbone=plan.backbone, folders=plan.folders, on_mini=plan.is_mini
    )
    # What an earlier training of the same plan wrote is found too.
    init = _initial(recipe.init, weights, [*plan.folders, folder], is_mini=plan.is_mini)
    name = re.sub(r"[^A-Za-z0-9.+=-]", "_", trained_name(composition)).strip("_")
    sharp = f"-sam{recipe.sam:g}" if recipe.sam else ""
    path = folder / f"{name}{sharp}-{weights.backbone}.safetensors"
    seed, bugs = _seed_and_bugs(plan, composition, seed, path, processes)
    job = Job(
        composition,
        weights,
        domain,
        recipe,
        seed,
        device,
        init,
        bugs=bugs,
        selection=plan.select,
        hold_out=plan.share_held_out,
        validate_every=plan.validate_every,
        validation_episodes=plan.val_episodes,
        precision=plan.precision,
        compiled=plan.compile,
        processes=processes,
    )
    return Planned(job, path, targets)


def _targets(plan: TrainingPlan) -> Targets | None:
    if plan.eval_targets_every is None and plan.select != "target-oracle":
        return None
    selection = Selection(
        methods=plan.methods,
        domains=plan.domains,
        suite="mini" if plan.is_mini else "cdfss",
        data_root=plan.data_root,
        lists=plan.lists,
    )
    return Targets(open_domains(selection), plan.eval_episodes, plan.eval_targets_every)


def _composed(method: str, *, is_mini: bool) -> tuple[Composition, Recipe]:
    composition = parse(method)
    host = composition.host.card
    recipe = host.mini.recipe if is_mini else host.recipe
    if recipe is None:
        raise UserError(f"{composition} has nothing to train: its card holds no recipe")
    if is_mini:
        composition = composition.in_miniature()
    shots = composition.host.options.get("shots")  # a host that is built for so many supports
    return composition, recipe if shots is None else recipe.model_copy(update={"shots": shots})


def _changed(
    recipe: Recipe, plan: TrainingPlan, frozen: str | None, domain: Domain, method: str
) -> Recipe:
    episodes = plan.episodes
    if plan.epochs is not None:
        episodes = plan.epochs * sum(domain.counts)
    init = "" if plan.init == "none" else plan.init
    typed = {"episodes": episodes, "batch": plan.batch, "lr": plan.lr, "freeze": frozen}
    typed |= {"init": init, "sam": plan.sam}
    typed |= {word: getattr(plan, word) for word in RECIPE_WORDS}
    return changed_recipe(recipe, typed, method)


def _initial(init: str, weights: Weights, folders: Sequence[Path], *, is_mini: bool) -> Path | None:
    """The checkpoint that `init` names: a file, or what was trained as a method of that name."""
    if not init:
        return None
    if Path(init).suffix in WEIGHTS_SUFFIXES or os.sep in init or Path(init).is_file():
        refuse_missing(Path(init))
        return Path(init)
    composition = parse(init)
    if is_mini:
        composition = composition.in_miniature()
    return initial_for(composition, weights, folders=folders, on_mini=is_mini)


def _seed_and_bugs(
    plan: TrainingPlan,
    composition: Composition,
    seed: int | None,
    path: Path,
    processes: Processes,
) -> tuple[int, tuple[Bug, ...]]:
    """The seed, and which known defects of the published code are repeated."""
    published = composition.host.card.recipe
    bugs = published.bugs if published is not None and plan.as_published else ()
    if seed is not None:
        return seed, tuple(bug for bug in bugs if bug != "wall-clock-seed")
    if "wall-clock-seed" not in bugs:
        return 0, bugs
    if processes.count > 1:
        raise UserError(
            "several processes do not agree on the time of day, which seeds this training as "
            "published",
            hint="name a seed with --seed",
        )
    begun = stored_seed(path.with_suffix(".training"))
    card = read_card(path) if path.is_file() else None
    if begun is None and card is not None:
        begun = card.seed
    return (int(time.time()) if begun is None else begun), bugs


def known_plans() -> list[str]:
    """Names of the plans that come with the package."""
    return sorted(path.stem for path in PLANS.glob("*.yaml"))
