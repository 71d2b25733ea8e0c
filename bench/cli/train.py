"""`cdfss-bench train`: train a method on the source domain, or the mini suite's backbone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from .console import talk
from .folders import refuse_file
from .interrupts import ending_with
from .next_command import Written, data_words, say_how_to_run, say_how_to_train
from .option_groups import expand_groups
from .options import add_plugins, chosen_device
from .selection_options import parsed_seeds, parsed_shots
from .train_options import TrainOptions
from .train_refusals import refuse_in_pretraining, refuse_without_effect
from .training_progress import progress

if TYPE_CHECKING:
    from ..training.distributed import Processes
    from ..training.plan import TrainingPlan
    from ..training.planned_trainings import Planned


@expand_groups
def train(context: typer.Context, options: TrainOptions) -> None:
    """Train a method by its published recipe; the card of the weights lists every deviation.

    The same command resumes an interrupted training; on a CPU the weights are then the same to
    the bit. On several GPUs:

    torchrun --nproc-per-node 4 --no-python cdfss-bench train -m hsnet
    """
    from ..runtime.threads import set_threads
    from ..training.distributed import joined
    from ..training.plan import read_training_plan

    refuse_file("-o", options.output)
    add_plugins(options.plugins)
    source, typed = options.source_named(), options.plan_values()
    if options.threads is not None:
        set_threads(options.threads)
    device = chosen_device(options.device)
    if options.pretrain:
        refuse_in_pretraining(context)
        _pretrain(options, source, device)
        return
    plan = read_training_plan(options.plan, typed)
    refuse_without_effect(context, plan)
    _check_trackers(plan)
    with joined(device) as (processes, own_device):
        done = _train_all(plan, options, own_device, processes)
    if not processes.leads:
        return
    if plan.evaluate is None:
        _say_how_to_run(plan, done, options)
    else:
        _evaluate(plan, done, options, device)


def _say_how_to_run(plan: TrainingPlan, done: Sequence[Planned], options: TrainOptions) -> None:
    say_how_to_run(
        [Written(one.job.composition, one.job.weights.backbone, one.output) for one in done],
        weights_dirs=plan.weights_dirs,
        plugins=options.plugins or (),
        data=data_words(plan.data_root, plan.lists, on_mini=plan.is_mini),
        on_mini=plan.is_mini,
    )


def _train_all(
    plan: TrainingPlan, options: TrainOptions, device: str, processes: Processes
) -> list[Planned]:
    from ..training.planned_trainings import planned

    done: list[Planned] = []
    for one in planned(plan, options.output, device=device, processes=processes):
        done.append(one)
        was_there = one.output.is_file() and not options.fresh
        if processes.leads:
            _announce(one)
        _train_one(one, plan, options, listens=processes.leads)
        if processes.leads:
            talk(f"{one.output} is complete already" if was_there else f"wrote {one.output}")
    return done


def _check_trackers(plan: TrainingPlan) -> None:
    """Refuse before any work what no library here can write."""
    from ..training.tensorboard import check_tensorboard
    from ..training.wandb_run import check_wandb

    if plan.tensorboard:
        check_tensorboard()
    if plan.wandb:
        check_wandb()


def _train_one(one: Planned, plan: TrainingPlan, options: TrainOptions, *, listens: bool) -> None:
    from ..runtime.threads import fit_threads
    from ..training.conduct import Conduct, Step
    from ..training.trainer import train as train_job

    fit_threads(one.job.domain.card.image_size, one.job.recipe.batch)
    with progress("steps") as tell:

        def listen(step: Step) -> None:
            tell(step.number, step.total, step.loss, validation=step.validation)

        conduct = Conduct(
            options.workers,
            options.save_every,
            targets=one.targets,
            listener=listen if listens else None,
            fresh=options.fresh,
            tensorboard=plan.tensorboard,
            wandb=plan.wandb,
            memory=int((plan.memory or 0) * 2**30),
        )
        with ending_with("the same command resumes from the last saved state"):
            train_job(one.job, one.output, conduct)


def _announce(one: Planned) -> None:
    from cdfss_bench.methods.weights.search import trained_name

    job = one.job
    talk(
        f"training {trained_name(job.composition)} on {job.domain.title} ({job.domain.profile}), "
        f"{job.weights.backbone} from {job.init.name if job.init else job.weights.description}, "
        f"{job.recipe.episodes} episodes, seed {job.seed}"
    )
    steps, decay = -(-job.recipe.episodes // job.recipe.batch), job.recipe.ema or 0.0
    if steps < 1 / (1 - decay):
        talk(
            f"--ema {decay:g} averages over about {1 / (1 - decay):.0f} steps, and the training "
            f"has {steps}: what is kept stays close to the weights of the first step"
        )
    if job.bugs:
        talk(f"repeating known errors of the published code: {', '.join(job.bugs)}")
    if job.selection == "target-oracle":
        talk("choosing weights by target labels: the result is an oracle and is marked as one")


def _evaluate(plan: TrainingPlan, done: list[Planned], options: TrainOptions, device: str) -> None:
    """Evaluate what the plan asks of its weights."""
    from ..evaluation.evaluator import Settings
    from ..executors.choosing import Choice
    from ..planning.planned_cells import plan as cells_of
    from ..training.planned_trainings import evaluations
    from .run import compute, exit_with
    from .scored_boards import show_records

    episodes, shots = options.run_episodes, parsed_shots(options.run_shots, "--run-shots")
    selections = [s for one in done for s in evaluations(plan, one, episodes=episodes, shots=shots)]
    if not selections:
        return
    cells = [cell for selection in selections for cell in cells_of(selection)]
    outcomes = compute(cells, options.results, Settings(device=device), Choice(), with_cost=False)
    written = [outcome.record for outcome in outcomes if outcome.record is not None]
    show_records(written, options.results)
    talk(f"next: cdfss-bench report --results {shlex.quote(str(options.results))}")
    exit_with(outcomes)


def _pretrain(options: TrainOptions, source: str | None, device: str) -> None:
    import dataclasses

    from cdfss_bench.errors import UserError

    from ..training.pretrain import pretrain as pretrain_backbone
    from ..training.pretrain import recipe_for
    from ..training.sources import chosen_source, open_source

    seed, *further = parsed_seeds(options.seeds)
    if further:
        raise UserError("--pretrain trains one backbone", hint="name one seed")
    named = chosen_source(source, options.data_root)
    domain = open_source(named, options.data_root, options.lists)
    backbone = options.backbone or "resnet-mini"
    given = {"epochs": options.epochs, "batch": options.batch, "lr": options.lr, "seed": seed}
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(recipe_for(backbone), **changed)
    path = options.output / f"{backbone}.safetensors"
    talk(f"pretraining {backbone} on {domain.title}, {recipe.epochs} epochs")
    with progress("steps") as tell:
        pretrain_backbone(backbone, domain, path, recipe, device=device, listener=tell)
    talk(f"wrote {path}")
    say_how_to_train(
        backbone,
        path,
        on_mini=domain.card.suite == "mini",
        data=data_words(options.data_root, options.lists, on_mini=False),
    )
