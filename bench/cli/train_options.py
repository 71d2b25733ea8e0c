"""The options of `cdfss-bench train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

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
    complete_methods,
    parsed_seeds,
)

_RECIPE, _KEPT, _WATCH = "Recipe", "Which weights are kept", "Watching"


@dataclass(frozen=True)
class TrainOptions:
    """What was typed after `train`; fields named as in `TrainingPlan` mean the same."""

    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Method to train; repeatable.",
            autocompletion=complete_methods,
        ),
    ] = None
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Several trainings from a FILE with the same words, or an ablation by its name: "
            "lem-lcm, freeze, apm-acpa."
        ),
    ] = None
    pretrain: Annotated[
        bool,
        typer.Option("--pretrain", help="Train the backbone itself by dense classification."),
    ] = False
    source: Annotated[
        str | None,
        typer.Option(help="pascal or mini; by default pascal where a data root is known."),
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(help="The source of a suite instead: mini has its own, cdfss has pascal."),
    ] = None
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights.")] = Path(
        "weights"
    )
    backbone: Backbone = None
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seed", help="Of everything drawn, or a range 0..4; repeatable."),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard what an earlier training left there.")
    ] = False
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Episodes in all, instead of the recipe's.",
            envvar="CDFSS_TRAIN_EPISODES",
            rich_help_panel=_RECIPE,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Passes over the source, instead of --episodes.", rich_help_panel=_RECIPE
        ),
    ] = None
    batch: Annotated[
        int | None, typer.Option(min=1, help="Episodes per step.", rich_help_panel=_RECIPE)
    ] = None
    lr: Annotated[
        float | None, typer.Option(min=0.0, help="Learning rate.", rich_help_panel=_RECIPE)
    ] = None
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help="Stages not trained: none, 1, 1-2, 1-3 or all; repeatable.",
            rich_help_panel=_RECIPE,
        ),
    ] = None
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from this trained method or FILE instead of the recipe's; or from none.",
            rich_help_panel=_RECIPE,
        ),
    ] = None
    sam: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Radius of sharpness-aware minimisation; 0 is plain descent.",
            rich_help_panel=_RECIPE,
        ),
    ] = None
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Repeat the known oversights of the published code too.",
            rich_help_panel=_RECIPE,
        ),
    ] = False
    precision: Annotated[
        str | None,
        typer.Option(help="fp32 or bf16 (mixed). [default: fp32]", rich_help_panel=_RECIPE),
    ] = None
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Let torch compile the objective.", rich_help_panel=_RECIPE),
    ] = False
    select: Annotated[
        str | None,
        typer.Option(
            help="last, source-val (best on held-out source episodes), or target-oracle. "
            "[default: last]",
            rich_help_panel=_KEPT,
        ),
    ] = None
    hold_out: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            rich_help_panel=_KEPT,
            help="Share of the source's images not trained on but validated with. [default: 0.1 "
            "with source-val, else 0]",
        ),
    ] = None
    validate_every: Annotated[
        float | None,
        typer.Option(
            help="Part of the training between two validations. [default: 0.1]",
            rich_help_panel=_KEPT,
        ),
    ] = None
    val_episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Of a validation. [default: 200]", rich_help_panel=_KEPT),
    ] = None
    oracle: Annotated[
        bool,
        typer.Option(
            "--oracle",
            rich_help_panel=_KEPT,
            help="Yes, --select target-oracle looks at target labels, and is marked so for ever.",
        ),
    ] = False
    eval_targets_every: Annotated[
        float | None,
        typer.Option(
            help="Fraction of an epoch (one pass over the source) between two looks at the "
            "targets: a curve beside the weights, never a selection.",
            rich_help_panel=_WATCH,
        ),
    ] = None
    domains: Domains = None
    eval_episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Of each target. [default: 100]", rich_help_panel=_WATCH),
    ] = None
    run_episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only the first so many of each cell that a plan evaluates.",
            envvar="CDFSS_EPISODES",
            rich_help_panel=_WATCH,
        ),
    ] = None
    run_shots: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Supports in the cells that a plan evaluates, instead of the plan's; repeatable.",
            envvar="CDFSS_SHOTS",
            rich_help_panel=_WATCH,
        ),
    ] = None
    save_every: Annotated[
        int,
        typer.Option(min=1, help="Steps between two saved states.", rich_help_panel=_WATCH),
    ] = 500
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write the log for TensorBoard too, beside the weights.",
            rich_help_panel=_WATCH,
        ),
    ] = False
    data_root: DataRoot = None
    lists: Lists = None
    weights_dirs: WeightsDirs = None
    plugins: Plugins = None
    results: Results = Path("results")
    device: Device = "auto"
    threads: Threads = None
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that decode ahead.", rich_help_panel="Computing")
    ] = 2

    def plan_values(self) -> dict[str, Any]:
        """What was typed of a training plan, in the words of `TrainingPlan`.

        Raises:
            UserError: for seeds that are no numbers, or a suite and a source that disagree.
        """
        from ..training.plan import TrainingPlan

        values = {
            name: value for name, value in vars(self).items() if name in TrainingPlan.model_fields
        }
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

        if self.suite is None:
            return self.source
        of = {"mini": "mini", "cdfss": "pascal"}
        if self.suite not in of:
            raise unknown("suite", self.suite, tuple(of))
        if self.source not in (None, "auto", of[self.suite]):
            raise UserError(
                f"--suite {self.suite} trains on {of[self.suite]}, and --source says {self.source}",
                mend="leave one of them out",
            )
        return of[self.suite]
