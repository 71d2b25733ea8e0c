"""What `train` is asked: the same words as flags and in plan files, one training or many."""

from __future__ import annotations

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

from cdfss_bench.errors import UserError
from cdfss_bench.methods.weights.search import default_folders
from cdfss_bench.plain_yaml import read_yaml

from ..planning.plan_files import plan_file
from ..planning.plan_words import as_fields
from ..planning.typed import validated_typed
from .sources import chosen_source, source_of_suite

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


def read_training_plan(plan: Path | None, typed: dict[str, Any]) -> TrainingPlan:
    """A plan file, or one that comes with the package, with what was typed on top.

    Raises:
        UserError: naming the key that is wrong, or the plans that there are.
    """
    values: dict[str, Any] = {}
    where: Path | None = None
    if plan is not None:
        where = plan_file(plan, PLANS)
        values = as_fields(read_yaml(where), where)
    if {"episodes", "epochs"} & set(typed):
        values = {k: v for k, v in values.items() if k not in ("episodes", "epochs")}
    merged = {**values, **typed}
    if not merged.get("methods"):
        raise UserError("no method is named", hint="name one with -m, or use --pretrain")
    return validated_typed(TrainingPlan, merged, where, typed)
