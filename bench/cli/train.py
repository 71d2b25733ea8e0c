"""`cdfss-bench train`: train a method on the source domain, or the mini suite's backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import talk
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
    add_plugins,
    chosen_device,
    complete_methods,
    parsed_seeds,
)
from .training_progress import progress

if TYPE_CHECKING:
    from cdfss_bench.datasets import Domain

    from ..training.conduct import Conduct
    from ..training.distributed import Processes
    from ..training.plan import Planned, TrainingPlan

_RECIPE, _KEPT, _WATCH = "Recipe", "Which weights are kept", "Watching"


def train(
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Method to train; repeatable.",
            autocompletion=complete_methods,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Several trainings from a FILE with the same words, or an ablation by its name: "
            "lem-lcm, freeze, apm-acpa."
        ),
    ] = None,
    pretrain: Annotated[
        bool,
        typer.Option("--pretrain", help="Train the backbone itself by dense classification."),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(help="pascal or mini; by default pascal where a data root is known."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="The source of a suite instead: mini has its own, cdfss has pascal."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights.")] = Path(
        "weights"
    ),
    backbone: Backbone = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seed", help="Of everything drawn, or a range 0..4; repeatable."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard what an earlier training left there.")
    ] = False,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Episodes in all, instead of the recipe's.",
            envvar="CDFSS_TRAIN_EPISODES",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Passes over the source, instead of --episodes.", rich_help_panel=_RECIPE
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Episodes per step.", rich_help_panel=_RECIPE)
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0.0, help="Learning rate.", rich_help_panel=_RECIPE)
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help="Stages not trained: none, 1, 1-2, 1-3 or all; repeatable.",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from this trained method or FILE instead of the recipe's; or from none.",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    sam: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Radius of sharpness-aware minimisation; 0 is plain descent.",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Repeat the known oversights of the published code too.",
            rich_help_panel=_RECIPE,
        ),
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32 or bf16 (mixed). [default: fp32]", rich_help_panel=_RECIPE),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Let torch compile the objective.", rich_help_panel=_RECIPE),
    ] = False,
    select: Annotated[
        str | None,
        typer.Option(
            help="last, source-val (best on held-out source episodes), or target-oracle. "
            "[default: last]",
            rich_help_panel=_KEPT,
        ),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            rich_help_panel=_KEPT,
            help="Share of the source's images not trained on but validated with. [default: 0.1 "
            "with source-val, else 0]",
        ),
    ] = None,
    validate_every: Annotated[
        float | None,
        typer.Option(
            help="Part of the training between two validations. [default: 0.1]",
            rich_help_panel=_KEPT,
        ),
    ] = None,
    val_episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Of a validation. [default: 200]", rich_help_panel=_KEPT),
    ] = None,
    oracle: Annotated[
        bool,
        typer.Option(
            "--oracle",
            rich_help_panel=_KEPT,
            help="Yes, --select target-oracle looks at target labels, and is marked so for ever.",
        ),
    ] = False,
    eval_targets_every: Annotated[
        float | None,
        typer.Option(
            help="Fraction of an epoch (one pass over the source) between two looks at the "
            "targets: a curve beside the weights, never a selection.",
            rich_help_panel=_WATCH,
        ),
    ] = None,
    domains: Domains = None,
    eval_episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Of each target. [default: 100]", rich_help_panel=_WATCH),
    ] = None,
    run_episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only the first so many of each cell that a plan evaluates.",
            envvar="CDFSS_EPISODES",
            rich_help_panel=_WATCH,
        ),
    ] = None,
    run_shots: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Supports in the cells that a plan evaluates, instead of the plan's; repeatable.",
            envvar="CDFSS_SHOTS",
            rich_help_panel=_WATCH,
        ),
    ] = None,
    save_every: Annotated[
        int,
        typer.Option(min=1, help="Steps between two saved states.", rich_help_panel=_WATCH),
    ] = 500,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write the log for TensorBoard too, beside the weights.",
            rich_help_panel=_WATCH,
        ),
    ] = False,
    data_root: DataRoot = None,
    lists: Lists = None,
    weights_dirs: WeightsDirs = None,
    plugins: Plugins = None,
    results: Results = Path("results"),
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that decode ahead.", rich_help_panel="Computing")
    ] = 2,
) -> None:
    """Train by the method's published recipe; every deviation stands in the weights' card.

    The same command resumes what was interrupted, to the bit on a CPU. Several GPUs:
    torchrun --nproc-per-node 4 --no-python cdfss-bench train -m hsnet
    """
    import torch

    from ..training.conduct import Conduct
    from ..training.distributed import joined
    from ..training.plan import read_training_plan, refuse_unknown_plan
    from ..training.tensorboard import check_tensorboard

    add_plugins(plugins)
    source = _source_named(source, suite)
    if tensorboard:
        check_tensorboard()
    if threads is not None:
        torch.set_num_threads(threads)
    where = chosen_device(device)
    if pretrain:
        domain = _pretraining_source(source, data_root, lists)
        seed = parsed_seeds(seeds)[0]
        _pretrain(domain, backbone or "resnet-mini", output, seed, epochs, batch, lr, where)
        return
    typed: dict[str, Any] = {
        "methods": methods, "source": source, "backbone": backbone,
        "seeds": parsed_seeds(seeds) if seeds else None,
        "episodes": None if epochs is not None else episodes, "epochs": epochs,
        "batch": batch, "lr": lr, "freeze": freeze, "init": init, "sam": sam,
        "as_published": as_published or None, "precision": precision, "compile": compiled or None,
        "select": select, "oracle": oracle or None, "hold_out": hold_out,
        "validate_every": validate_every, "val_episodes": val_episodes,
        "eval_targets_every": eval_targets_every, "eval_episodes": eval_episodes,
        "domains": domains, "data_root": data_root, "lists": lists, "weights_dirs": weights_dirs,
    }  # fmt: skip
    if plan is not None:
        refuse_unknown_plan(plan)
    asked = read_training_plan(plan, {k: v for k, v in typed.items() if v not in (None, [])})
    conduct = Conduct(workers, save_every, fresh=fresh, tensorboard=tensorboard)
    with joined(where) as (processes, own_device):
        done = _train_all(asked, output, own_device, processes, conduct)
    if processes.leads:
        _evaluate(asked, done, results, where, run_episodes, run_shots or ())


def _train_all(
    plan: TrainingPlan, output: Path, device: str, processes: Processes, conduct: Conduct
) -> list[Planned]:
    import dataclasses

    from ..training.conduct import Step
    from ..training.plan import planned
    from ..training.trainer import train as train_job

    done: list[Planned] = []
    for one in planned(plan, output, device=device, processes=processes):
        done.append(one)
        if processes.leads:
            _announce(one)
        with progress("steps") as tell:

            def listen(step: Step, tell: Any = tell) -> None:
                tell(step.number, step.total, step.loss, validation=step.validation)

            listener = listen if processes.leads else None
            own = dataclasses.replace(conduct, targets=one.targets, listener=listener)
            try:
                was_there = one.output.is_file() and not conduct.fresh
                train_job(one.job, one.output, own)
            except KeyboardInterrupt:
                talk("interrupted: the same command resumes from the last saved state")
                raise typer.Exit(130) from None
        if processes.leads:
            talk(f"{one.output} is complete already" if was_there else f"wrote {one.output}")
    return done


def _source_named(source: str | None, suite: str | None) -> str | None:
    from cdfss_bench.errors import UserError, unknown

    if suite is None:
        return source
    of = {"mini": "mini", "cdfss": "pascal"}
    if suite not in of:
        raise unknown("suite", suite, tuple(of))
    if source not in (None, "auto", of[suite]):
        raise UserError(
            f"--suite {suite} trains on {of[suite]}, and --source says {source}",
            mend="leave one of them out",
        )
    return of[suite]


def _announce(one: Planned) -> None:
    from cdfss_bench.methods.weights.resolve import trained_name

    job = one.job
    talk(
        f"training {trained_name(job.composition)} on {job.domain.title} ({job.domain.profile}), "
        f"{job.weights.backbone} from {job.init.name if job.init else job.weights.description}, "
        f"{job.recipe.episodes} episodes, seed {job.seed}"
    )
    if job.bugs:
        talk(f"repeating oversights of the published code: {', '.join(job.bugs)}")
    if job.selection == "target-oracle":
        talk("choosing weights by target labels: the result is an oracle and is marked as one")


def _evaluate(
    plan: TrainingPlan,
    done: list[Planned],
    results: Path,
    device: str,
    episodes: int | None,
    shots: Sequence[int],
) -> None:
    """Runs what the plan asks of its weights."""
    from ..comparison.leaderboard import leaderboards
    from ..evaluation.evaluator import Settings
    from ..evaluation.runner import Runner
    from ..planning.selection import plan as cells_of
    from ..reporting.leaderboard_table import text_table
    from ..training.plan import evaluations
    from .console import show
    from .run import line_of

    selections = [s for one in done for s in evaluations(plan, one, episodes=episodes, shots=shots)]
    if not selections:
        return
    cells = [cell for selection in selections for cell in cells_of(selection)]
    outcomes = []
    for outcome in Runner(results, Settings(device=device), with_cost=False).run(cells):
        outcomes.append(outcome)
        talk(line_of(outcome))
    boards = leaderboards(o.record for o in outcomes if o.record is not None)
    show(*map(text_table, boards))
    how = {outcome.how for outcome in outcomes}
    if "failed" in how:
        raise typer.Exit(1)
    if how & {"refused", "busy"}:
        raise typer.Exit(2)


def _pretraining_source(source: str | None, data_root: Path | None, lists: Path | None) -> Domain:
    import os

    from cdfss_bench.datasets import open_domain
    from cdfss_bench.errors import unknown

    if source not in (None, "auto", "pascal", "mini"):
        raise unknown("source", source, ("pascal", "mini"))
    if source is None or source == "auto":
        source = "pascal" if data_root or "CDFSS_DATA_ROOT" in os.environ else "mini"
    if source == "mini":
        return open_domain("mini-source")
    return open_domain("pascal", data_root, lists=lists)


def _pretrain(
    domain: Domain,
    backbone: str,
    output: Path,
    seed: int,
    epochs: int | None,
    batch: int | None,
    lr: float | None,
    device: str,
) -> None:
    import dataclasses

    from ..training.pretrain import pretrain as pretrain_backbone
    from ..training.pretrain import recipe_for

    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed}
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(recipe_for(backbone), **changed)
    path = output / f"{backbone}.safetensors"
    talk(f"pretraining {backbone} on {domain.title}, {recipe.epochs} epochs")
    with progress("steps") as tell:
        pretrain_backbone(backbone, domain, path, recipe, device=device, listener=tell)
    talk(f"wrote {path}")
