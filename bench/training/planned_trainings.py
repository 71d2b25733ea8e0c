"""The trainings of a plan, each with all that decides its weights, and what they are tested on."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from cdfss_bench.cards import validated
from cdfss_bench.datasets import Domain
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.card import Bug, Recipe
from cdfss_bench.methods.registry.name_grammar import Composition, parse
from cdfss_bench.methods.weights.card import read_card
from cdfss_bench.methods.weights.file_kinds import WEIGHTS_SUFFIXES, refuse_missing
from cdfss_bench.methods.weights.resolve import Weights, initial_for, pretrained_for
from cdfss_bench.methods.weights.search import trained_name

from ..planning.selection import Selection, open_domains
from .checkpoint import stored_seed
from .distributed import Processes
from .job import Job
from .plan import TrainingPlan
from .recipe import RECIPE_WORDS, changed_recipe
from .sources import chosen_source, open_source
from .validation import Targets


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
        for frozen, seed in product(plan.freeze or (None,), plan.seeds or (None,)):
            folder = output
            if len(plan.freeze) > 1:
                folder /= f"freeze={frozen}"
            if len(plan.seeds) > 1:
                folder /= f"seed={seed}"
            resolved = _changed(recipe, plan, frozen, domain, method)
            weights = pretrained_for(
                composition, backbone=plan.backbone, folders=plan.folders, on_mini=plan.is_mini
            )
            # What an earlier training of the same plan wrote is found too.
            folders = [*plan.folders, folder]
            init = _initial(resolved.init, weights, folders, is_mini=plan.is_mini)
            name = re.sub(r"[^A-Za-z0-9.+=-]", "_", trained_name(composition)).strip("_")
            sharp = f"-sam{resolved.sam:g}" if resolved.sam else ""
            path = folder / f"{name}{sharp}-{weights.backbone}.safetensors"
            drawn, bugs = _seed_and_bugs(plan, composition, seed, path, processes)
            job = Job(
                composition,
                weights,
                domain,
                resolved,
                drawn,
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
            yield Planned(job, path, targets)


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
        raise UserError(
            f"{composition} has nothing to train: its card holds no recipe",
            hint="leave it out; run takes it as it is",
        )
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
