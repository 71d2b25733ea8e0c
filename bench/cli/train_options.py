"""The options of `cdfss-bench train`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .completion import complete_known_methods, words_of
from .options import (
    Backbone,
    DataRoot,
    Device,
    Domains,
    Lists,
    Plugins,
    Results,
    Threads,
    WeightsDirs,
)
from .selection_options import parsed_seeds

_recipe = partial(typer.Option, rich_help_panel="Recipe")
_kept = partial(typer.Option, rich_help_panel="Which weights are kept")
_watch = partial(typer.Option, rich_help_panel="Monitoring")

# Options that a plan file may set as well default to None; the help names the value that is used.


@dataclass(frozen=True)
class TrainOptions:
    """What was typed after `train`; fields named as in `TrainingPlan` mean the same."""

    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="METHOD",
            help="Method to train, several as A,B. Repeatable.",
            autocompletion=complete_known_methods,
        ),
    ] = None
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Plan FILE of several trainings, with the names of these options as keys; or a "
            "study by name: lem-lcm, freeze, apm-acpa, loec-vit-lem or loec-vit-lcm."
        ),
    ] = None
    pretrain: Annotated[
        bool,
        typer.Option(
            "--pretrain",
            help="Train the backbone itself, no method: by dense classification, a SAM by "
            "prompted segmentation.",
        ),
    ] = False
    source: Annotated[
        str | None,
        typer.Option(
            help="Source domain: pascal or mini. By default pascal where a data root is set, "
            "else mini.",
            autocompletion=words_of("pascal", "mini"),
        ),
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            help="Source domain by its suite, instead of --source: cdfss trains on pascal, mini "
            "on the mini source.",
            autocompletion=words_of("cdfss", "mini"),
        ),
    ] = None
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder that the weights are written to; in the default one `run` finds them.",
        ),
    ] = Path("weights")
    backbone: Backbone = None
    seeds: Annotated[
        list[str] | None,
        typer.Option(
            "--seed",
            metavar="N",
            help="Seed of the episodes, the initialisation and everything else drawn, or a range "
            "0..4. Repeatable; 0 by default.",
        ),
    ] = None
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Discard the state and weights of an earlier training."),
    ] = False
    episodes: Annotated[
        int | None,
        _recipe(
            min=1,
            help="Number of training episodes. By default the recipe's.",
            envvar="CDFSS_TRAIN_EPISODES",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        _recipe(min=1, help="Number of passes over the source domain, instead of --episodes."),
    ] = None
    batch: Annotated[
        int | None,
        _recipe(min=1, help="Episodes per optimiser step. By default the recipe's."),
    ] = None
    lr: Annotated[
        float | None, _recipe(min=0.0, help="Learning rate. By default the recipe's.")
    ] = None
    lr_part: Annotated[
        list[str] | None,
        _recipe(
            help="Learning rate of one part as NAME=RATE: backbone, head (all the rest), or the "
            "beginning of parameters' names, such as backbone.layer3=1e-4. Repeatable; --lr for "
            "all other parts."
        ),
    ] = None
    optimizer: Annotated[
        str | None,
        _recipe(
            help="Optimiser: sgd, adam or adamw. By default the recipe's.",
            autocompletion=words_of("sgd", "adam", "adamw"),
        ),
    ] = None
    momentum: Annotated[float | None, _recipe(help="Momentum of SGD. By default the recipe's.")] = (
        None
    )
    weight_decay: Annotated[
        float | None,
        _recipe(
            help="Weight decay. By default the recipe's; with --optimizer adamw 0.01 where the "
            "recipe has none."
        ),
    ] = None
    schedule: Annotated[
        str | None,
        _recipe(
            help="Learning-rate schedule: constant, cosine or poly (both fall to zero), or parts "
            "of the training after which it is divided by ten (0.5,0.75). By default the recipe's.",
            autocompletion=words_of("constant", "cosine", "poly"),
        ),
    ] = None
    warmup: Annotated[
        int | None,
        _recipe(help="Warm-up: steps in which the rate rises to its full value; 0 turns it off."),
    ] = None
    clip_norm: Annotated[
        float | None,
        _recipe(
            help="Maximum norm of the gradient, to which larger ones are scaled; 0 turns it off."
        ),
    ] = None
    ema: Annotated[
        float | None,
        _recipe(
            help="Decay of a moving average of the weights (0.999), which is validated and kept "
            "in their place; 0 turns it off."
        ),
    ] = None
    freeze: Annotated[
        list[str] | None,
        _recipe(
            help="Backbone stages that are not trained: none, 1, 1-2, 1-3 or all. Repeatable, "
            "for one training each; by default the recipe's.",
            autocompletion=words_of("none", "1", "1-2", "1-3", "all"),
        ),
    ] = None
    init: Annotated[
        str | None,
        _recipe(
            help="Weights to start from: a trained method, a FILE, or none. By default the "
            "recipe's."
        ),
    ] = None
    sam: Annotated[
        float | None,
        _recipe(
            min=0.0,
            help="Radius of sharpness-aware minimisation; 0 turns it off. By default the recipe's.",
        ),
    ] = None
    as_published: Annotated[
        bool,
        _recipe("--as-published", help="Repeat the known errors of the published training code."),
    ] = False
    precision: Annotated[
        str | None,
        _recipe(
            help="Precision of training: fp32, or bf16 (mixed precision). fp32 by default.",
            autocompletion=words_of("fp32", "bf16"),
        ),
    ] = None
    compile: Annotated[
        bool, _recipe("--compile", help="Compile the objective with torch.compile.")
    ] = False
    select: Annotated[
        str | None,
        _kept(
            help="Which weights are kept: last, source-val (best on held-out source episodes) or "
            "target-oracle (best on target labels). last by default.",
            autocompletion=words_of("last", "source-val", "target-oracle"),
        ),
    ] = None
    hold_out: Annotated[
        float | None,
        _kept(
            min=0.0,
            max=0.9,
            help="Share of the source images kept for validation and not trained on. By default "
            "0.1 with source-val, else 0.",
        ),
    ] = None
    validate_every: Annotated[
        float | None,
        _kept(help="Share of the training between two validations. 0.1 by default."),
    ] = None
    val_episodes: Annotated[
        int | None, _kept(min=1, help="Episodes per validation. 200 by default.")
    ] = None
    oracle: Annotated[
        bool,
        _kept(
            "--oracle",
            help="Confirm that --select target-oracle may use target labels; the weights and "
            "their results are marked as an oracle.",
        ),
    ] = False
    eval_targets_every: Annotated[
        float | None,
        _watch(
            help="Evaluate the targets whenever this share of an epoch (one pass over the source) "
            "has passed, and write the curve beside the weights; no weights are selected by it. "
            "Never by default."
        ),
    ] = None
    domains: Domains = None
    eval_episodes: Annotated[
        int | None,
        _watch(min=1, help="Episodes of each target at such an evaluation. 100 by default."),
    ] = None
    run_episodes: Annotated[
        int | None,
        _watch(
            min=1,
            help="Episodes of each cell that a plan evaluates, the first ones. By default the "
            "plan's.",
            envvar="CDFSS_EPISODES",
        ),
    ] = None
    run_shots: Annotated[
        list[str] | None,
        _watch(
            help="Support images per episode (shots) in the cells that a plan evaluates. "
            "Repeatable; by default the plan's.",
            envvar="CDFSS_SHOTS",
        ),
    ] = None
    save_every: Annotated[int, _watch(min=1, help="Optimiser steps between two saved states.")] = (
        500
    )
    tensorboard: Annotated[
        bool,
        _watch("--tensorboard", help="Also write the log for TensorBoard, beside the weights."),
    ] = False
    wandb: Annotated[
        bool,
        _watch(
            "--wandb",
            help="Also log to Weights & Biases; with WANDB_MODE=offline it is written beside "
            "the weights.",
        ),
    ] = False
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="GIB",
            help="GiB in which outputs of frozen stages are kept (HSNet, PATNet, APSeg, SSP, LoEC, "
            "IFA; DR-Adapter freezes none); the network is then computed by a faster form, equal "
            "up to rounding; 0 keeps none. By default off.",
            rich_help_panel="Computing",
        ),
    ] = None
    data_root: DataRoot = None
    lists: Lists = None
    weights_dirs: WeightsDirs = None
    plugins: Plugins = None
    results: Results = Path("results")
    device: Device = "auto"
    threads: Threads = None
    workers: Annotated[
        int,
        typer.Option(min=0, help="Threads that decode images ahead.", rich_help_panel="Computing"),
    ] = 2

    def plan_values(self) -> dict[str, Any]:
        """What was typed of a training plan, in the words of `TrainingPlan`.

        Raises:
            UserError: for seeds that are no numbers, or a suite and a source that disagree.
        """
        from ..planning.plan_words import names
        from ..training.plan import TrainingPlan

        values = {
            name: value for name, value in vars(self).items() if name in TrainingPlan.model_fields
        }
        values["methods"] = list(names(self.methods or ()))
        values["source"] = self.source_named()
        values["seeds"] = parsed_seeds(self.seeds) if self.seeds else None
        if self.epochs is not None:
            del values["episodes"]
        # A switch that was not typed leaves the plan file's value; 0 is a value.
        return {k: v for k, v in values.items() if v is not None and v is not False and v != []}

    def source_named(self) -> str | None:
        """The source that --source or --suite names.

        Raises:
            UserError: for an unknown suite, or where the two disagree.
        """
        from cdfss_bench.errors import UserError, unknown

        from ..training.sources import source_of_suite

        if self.suite is None:
            return self.source
        if self.suite not in ("mini", "cdfss"):
            raise unknown("suite", self.suite, ("mini", "cdfss"))
        source = source_of_suite(self.suite)
        if self.source not in (None, "auto", source):
            raise UserError(
                f"--suite {self.suite} trains on {source}, and --source says {self.source}",
                hint="leave one of them out",
            )
        return source
