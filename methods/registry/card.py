"""The method card: what a method is, where it comes from, what may be set, what is uncertain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cdfss_bench.cards import Card
from cdfss_bench.options import Option, Value

Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["cosine", "poly"]
"""Rates that fall smoothly to zero: half a cosine wave, or (1 - t) ** 0.9."""

Bug = Literal[
    "epochs-repeat", "epochs-repeat-from-second", "boundary-is-background", "wall-clock-seed"
]
"""Oversights of published training code:

* every epoch, or every epoch from the second on, shows the same episodes in the same order (DRA
  seeds with 0 each epoch; PATNet's validation leaves a seed of which the next is always 84442);
* PASCAL's undecided border is trained as background (HSNet, PATNet, DRA, IFA);
* the seed is the time of day (SSP, IFA; HSNet's is never set).
"""


class Recipe(Card):
    """Source training as published; every deviation typed on the command line is recorded.

    Attributes:
        optimizer: `adam`, `adamw` or `sgd`.
        lr: learning rate.
        momentum: of SGD.
        weight_decay: L2, with AdamW decoupled.
        batch: episodes per step.
        episodes: in all.
        schedule: fractions of the training at which the rate is divided by ten; or the name of a
            curve that it falls by.
        warmup: steps in which the rate rises linearly to its full value.
        lr_parts: learning rates of single parts (see `parameter_groups`).
        clip_norm: length to which the whole gradient is cut.
        ema: decay of the moving average of the parameters, which is kept in their place.
        folded: whether frozen stages compute image by image with folded norms, and the others in
            a faster form; equal up to rounding.
        augment: `none` (squash to the input size) or `flip` (each image mirrored half of the time).
        shots: supports per training episode.
        freeze: stages that are not trained: `none`, `1`, `1-2`, `1-3`, or `all` (the backbone).
        norm: whether the affine parameters of normalisation layers in the backbone are trained.
        init: a method whose trained weights it starts from, instead of the backbone's alone.
        rounds: equal parts of the training that the method is told of (`Method.begin_round`).
        sam: radius of sharpness-aware minimisation; 0 is plain descent.
        bugs: what the published code does besides, by oversight, and a training repeats only where
            it is asked to (`--as-published`).
        source: where the recipe stands (paper section or published file).
    """

    optimizer: Optimizer
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch: int
    episodes: int
    schedule: Schedule | tuple[float, ...] = ()
    warmup: int | None = Field(default=None, ge=1)
    lr_parts: dict[str, float] | None = None
    clip_norm: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    folded: bool | None = None
    augment: Literal["none", "flip"] = "none"
    shots: int = 1
    freeze: Literal["none", "1", "1-2", "1-3", "all"] = "none"
    norm: bool = False
    init: str = ""
    rounds: int = Field(default=1, ge=1)
    sam: float = Field(default=0.0, ge=0.0)
    bugs: tuple[Bug, ...] = ()
    source: str = ""

    @property
    def frozen_stages(self) -> int:
        """How many stages of the backbone are not trained."""
        return {"none": 0, "1": 1, "1-2": 2, "1-3": 3, "all": 99}[self.freeze]


class Mini(Card):
    """What differs in the mini suite: a small backbone, small parts, a short training."""

    backbone: str = "resnet-mini"
    options: dict[str, Value] = {}
    recipe: Recipe | None = None


class MethodCard(Card):
    """What is known of a host, a plug-in, an alias, a control row or a published-only row.

    Attributes:
        kind: what it is.
        code: `module:Class`, beside the card; hosts, plug-ins and controls have one.
        composition: for an alias, what it stands for (`ssp+lem+lcm`).
        reason: for a published row, why it does not run.
        trains: for a plug-in, whether source training with it gives other weights.
        alone: for a plug-in, the composition that its bare name stands for.
        excludes: for a plug-in, others that cannot stand beside it.
        place: for a plug-in, where it acts: `stage`, `feature`, `score`, `head`, `anchors`, `maps`.
        needs: for a plug-in, `tokens` if it acts on a transformer's only.
        offers: for a host, the places where plug-ins may act.
        backbones: names in order of preference; the first is the published one.
        also_on: other backbones that it takes where they are named: none, `transformers`, or `any`.
        made_for: backbones with which it is published; a row on another says so. Empty where the
            method is bound to none.
        output_stride: the stride to which the host asks its backbone to be dilated.
        reads: the deepest stage it reads: `semantic` or `pyramid`.
        reads_on: the deepest stage it reads on a backbone whose published weights end earlier.
        row_notes: what every table says of its rows, by backbone; `any` on all. Continues the
            words "this row".
        has_head: whether it has parameters of its own beside the backbone's, without which it
            must not run.
        input_size: side in pixels of the published evaluation.
        adaptation: `none`; `episode`: learns from each episode's support; `transductive`: from the
            support and the unlabelled query. An option called `steps` counts the steps of it: at 0
            there is none. A boolean option may say so too, of a part that adapts where it is set.
        recipe: source training.
        options: what may be set in brackets.
        deviations: where we knowingly differ from the paper or its code.
        open: what the paper leaves open, and what we chose.
        mini: overrides for the mini suite.
    """

    name: str
    title: str
    kind: Literal["host", "plugin", "alias", "control", "published"]
    summary: str
    paper: str = ""
    venue: str = ""
    year: int | None = None
    url: str = ""
    code: str = Field(default="", alias="class")
    composition: str = Field(default="", alias="is")
    reason: str = ""
    trains: bool = False
    alone: str = ""
    excludes: tuple[str, ...] = ()
    place: Literal["", "stage", "feature", "score", "head", "anchors", "maps"] = ""
    needs: Literal["", "tokens"] = ""
    offers: tuple[Literal["stage", "feature", "score", "head", "anchors", "maps"], ...] = ()
    backbones: tuple[str, ...] = ()
    also_on: Literal["", "transformers", "any"] = ""
    made_for: tuple[str, ...] = ()
    output_stride: Literal[8, 16, 32] = 32
    reads: Literal["", "semantic", "pyramid"] = ""
    reads_on: dict[str, Literal["semantic", "pyramid"]] = {}
    row_notes: dict[str, str] = {}
    has_head: bool = False
    input_size: int = 400
    adaptation: Literal["none", "episode", "transductive"] = "none"
    recipe: Recipe | None = None
    options: dict[str, Option] = {}
    deviations: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    mini: Mini = Mini()

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> MethodCard:
        needs = {
            "host": self.code and self.backbones and self.reads,
            "control": self.code,
            "plugin": self.code and self.place,
            "alias": self.composition,
            "published": self.reason,
        }
        if not needs[self.kind]:
            what = {
                "host": "'class', 'backbones' and 'reads'",
                "control": "'class'",
                "plugin": "'class' and 'place'",
                "alias": "'is'",
                "published": "'reason'",
            }[self.kind]
            raise ValueError(f"a card of kind {self.kind} needs {what}")
        return self
