"""A training step of every recipe on one CPU thread, and what `train --memory` makes of it.

    python tests/benchmarks/training_steps.py --rounds 5 --side 400 --batch 2
    python tests/benchmarks/training_steps.py --mini

The forms take turns in one process: as published; with the folded form of frozen stages and no
image known; and with every image known. A time is processor time, of which neighbours take nothing:
forward, backward and update of a batch in memory. Parameters and pictures are drawn.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch

from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.bench.training.frozen_features import FrozenFeatures
from cdfss_bench.bench.training.frozen_stages import FrozenStages
from cdfss_bench.bench.training.network import freeze, optimizer_of
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.conformance.probe import Episodes, seeded
from cdfss_bench.methods.conformance.probe import episodes as drawn_episodes
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.registry.card import Recipe
from cdfss_bench.methods.registry.name_grammar import Composition


def main() -> None:
    """Prints a line per recipe and form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", "-m", action="append", help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each form")
    parser.add_argument("--side", type=int, default=400, help="of the pictures")
    parser.add_argument("--batch", type=int, default=2, help="episodes a step")
    parser.add_argument("--mini", action="store_true", help="the mini suite's recipes, at 128 px")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()  # as training does
    print("method       backbone       form             loss   ms a step (least to most)   speed")
    recipes = [n for n in METHODS.names() if METHODS.card(n).recipe]
    for name in given.method or [*recipes, "ssp+lem"]:
        composition = parse(name)
        card = composition.host.card
        recipe = card.mini.recipe if given.mini else card.recipe
        if recipe is None:
            continue
        if given.mini:
            composition = composition.in_miniature()
        backbone = card.mini.backbone if given.mini else card.backbones[0]
        batch, side = (recipe.batch, 128) if given.mini else (given.batch, given.side)
        _measure(name, composition, backbone, recipe, batch, side, given.rounds)


def _measure(
    name: str,
    composition: Composition,
    backbone: str,
    recipe: Recipe,
    batch: int,
    side: int,
    rounds: int,
) -> None:
    drawn = drawn_episodes(batch, recipe.shots, side)
    budgets = {"plain": None}
    if recipe.freeze != "none" and (recipe.freeze == "all" or "vit" not in backbone):
        budgets |= {"folded": 0, "folded, kept": 2**33}
    steps = {form: _step(composition, backbone, recipe, drawn, b) for form, b in budgets.items()}
    times: dict[str, list[float]] = {form: [] for form in steps}
    losses = {form: step() for form, step in steps.items()}
    for _ in range(rounds):
        for form, step in steps.items():
            began = time.process_time()
            step()
            times[form].append(1000 * (time.process_time() - began))
    usual = statistics.median(times["plain"])
    for form, found in times.items():
        median = statistics.median(found)
        spread = f"{median:8.1f} ({min(found):.1f} to {max(found):.1f})"
        print(
            f"{name:12} {backbone:14} {form:13} {losses[form]:8.5f}   "
            f"{spread:27} {usual / median:5.2f}x",
            flush=True,
        )


def _step(
    composition: Composition,
    backbone: str,
    recipe: Recipe,
    drawn: Episodes,
    budget: int | None,
) -> Callable[[], float]:
    network = freeze(seeded(build(composition, backbone=backbone)), recipe).train()
    optimizer = optimizer_of(network, recipe)
    form = FrozenFeatures if recipe.freeze == "all" else FrozenStages
    kept = None if budget is None else form(network, budget, "cpu")
    rng = torch.Generator()
    network.begin_round(1, batch=recipe.batch, rng=rng.manual_seed(0))  # DRA's first only looks
    batch = EpisodeBatch(
        drawn.query_images, drawn.query_masks, drawn.support_images, drawn.support_masks, rng
    )

    def step() -> float:
        rng.manual_seed(0)
        with nullcontext() if kept is None else kept.in_place():
            terms = network.loss_terms(batch)
        loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        network.end_step()
        return float(loss.detach())

    return step


if __name__ == "__main__":
    main()
