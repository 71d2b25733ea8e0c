"""A training step of every recipe on one CPU thread, and what `train --memory` makes of it.

    python tests/benchmarks/training_steps.py --rounds 5 --side 400 --batch 2
    python tests/benchmarks/training_steps.py --mini
    python tests/benchmarks/training_steps.py --matching --rounds 2
    python tests/benchmarks/training_steps.py -m ssp --after 200 --rounds 3

The forms take turns in one process: as published; with the folded form of frozen stages and no
image known; and with every image known. A time is processor time, of which neighbours take nothing:
forward, backward and update of a batch in memory. Parameters and pictures are drawn; with
`--after N` the pictures are PASCAL's (`CDFSS_DATA_ROOT`, `CDFSS_LISTS`), the backbone is the one of
`CDFSS_WEIGHTS`, and N steps of training come first.

A drawn SSP selects few positions as confident background, a trained one most of them. `--matching`
times what follows the backbone alone, by drawn features [B, 1024, S / 8, S / 8] whose foreground
and background differ more and more.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.bench.training.episodes import TrainingEpisodes
from cdfss_bench.bench.training.frozen_features import FrozenFeatures
from cdfss_bench.bench.training.frozen_stages import FrozenStages
from cdfss_bench.bench.training.loader import Loading
from cdfss_bench.bench.training.network import begun, freeze, optimizer_of
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.blocks.prototypes import resized_masks
from cdfss_bench.methods.blocks.self_support import BACK_THRESHOLD, confident
from cdfss_bench.methods.conformance.probe import episodes as drawn_episodes
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.contract import EpisodeBatch, LossTerm
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast.trained_matching import trained_terms
from cdfss_bench.methods.hosts.ssp import SSP, mean_prototypes
from cdfss_bench.methods.registry.card import Recipe
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.resolve import resolve_weights
from cdfss_bench.methods.weights.search import kept_folders

Terms = Callable[[Tensor, Tensor, Tensor, Tensor], Mapping[str, LossTerm]]


def main() -> None:
    """Prints a line per recipe and form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", "-m", action="append", help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each form")
    parser.add_argument("--side", type=int, default=400, help="of the pictures")
    parser.add_argument("--batch", type=int, default=2, help="episodes a step")
    parser.add_argument("--mini", action="store_true", help="the mini suite's recipes, at 128 px")
    parser.add_argument("--matching", action="store_true", help="SSP's behind the backbone alone")
    parser.add_argument("--after", type=int, metavar="N", help="train N steps on PASCAL first")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()  # as training does
    if given.matching:
        _measure_matching(given.batch, given.side, given.rounds)
        return
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
        if given.after is None:
            backbone = card.mini.backbone if given.mini else card.backbones[0]
            network = freeze(seeded(build(composition, backbone=backbone)), recipe).train()
            batch, side = (recipe.batch, 128) if given.mini else (given.batch, given.side)
            rows = drawn_episodes(batch, recipe.shots, side)
            drawn = EpisodeBatch(
                rows.query_images, rows.query_masks, rows.support_images, rows.support_masks
            )
        else:
            backbone, network, drawn = _trained(composition, recipe, given.batch, given.after)
        _measure(name, network, backbone, recipe, drawn, given.rounds)


def _trained(
    composition: Composition, recipe: Recipe, batch: int, steps: int
) -> tuple[str, Method, EpisodeBatch]:
    """Backbone and network after `steps` of training on PASCAL, and the batch that comes next."""
    weights = resolve_weights(composition, folders=kept_folders())
    network = freeze(begun(composition, weights, None, seed=0), recipe).train()
    episodes = TrainingEpisodes(
        open_domain("pascal"), episodes=batch * (steps + 1), shots=recipe.shots, seed=0
    )
    *before, last = Loading(episodes, batch, seed=0, workers=1).steps()
    step = _step(network, recipe, 0)
    for number, loaded in enumerate(before, start=1):
        loss = step(loaded.batch)
        if number % 20 == 0:
            print(f"step {number} of {steps}: loss {loss:.4f}", flush=True)
    return weights.backbone, network, last.batch


def _measure(
    name: str,
    network: Method,
    backbone: str,
    recipe: Recipe,
    batch: EpisodeBatch,
    rounds: int,
) -> None:
    budgets = {"plain": None}
    if recipe.freeze == "all" or "vit" not in backbone:
        budgets |= {"folded": 0}
        if recipe.freeze != "none":
            budgets |= {"folded, kept": 2**33}
    steps = {
        form: partial(_step(deepcopy(network), recipe, budget), batch)
        for form, budget in budgets.items()
    }
    _print_times(f"{name:12} {backbone:14}", steps, rounds)


def _print_times(label: str, steps: Mapping[str, Callable[[], float]], rounds: int) -> None:
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
            f"{label} {form:13} {losses[form]:8.5f}   {spread:27} {usual / median:5.2f}x",
            flush=True,
        )


def _measure_matching(batch: int, side: int, rounds: int) -> None:
    network = seeded(build(parse("ssp"), backbone="resnet-mini"))
    assert isinstance(network, SSP)
    fast = trained_terms(network)
    assert fast is not None
    drawn = drawn_episodes(batch, 1, side)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(2, batch, 1024, side // 8, side // 8, generator=rng)
    direction = torch.randn(1024, 1, 1, generator=rng)
    masks = (drawn.query_masks, drawn.support_masks[:, 0])
    print("background selected          form             loss   ms (least to most)   speed")
    for difference in (0.0, 0.3):
        maps = [
            each + difference * direction * (2 * (resized_masks(mask == 1, each) > 0.5).float() - 1)
            for each, mask in zip(noise, masks, strict=True)
        ]
        first = network.self_supported(maps[0], *mean_prototypes(maps[1], drawn.support_masks))
        chosen = confident(first.first.flatten(2).softmax(1)[:, 0], BACK_THRESHOLD)

        def step(terms: Terms, layout: torch.memory_format, maps: list[Tensor] = maps) -> float:
            query, support = (each.to(memory_format=layout).requires_grad_() for each in maps)
            found = terms(query, support, drawn.query_masks, drawn.support_masks)
            loss = torch.stack([term.weight * term.value for term in found.values()]).sum()
            loss.backward()
            return float(loss.detach())

        steps = {
            "plain": partial(step, network.matching_terms, torch.contiguous_format),
            "folded": partial(step, fast, torch.channels_last),
        }
        _print_times(f"{chosen.float().mean():27.0%}", steps, rounds)


def _step(network: Method, recipe: Recipe, budget: int | None) -> Callable[[EpisodeBatch], float]:
    optimizer = optimizer_of(network, recipe)
    form = FrozenFeatures if recipe.freeze == "all" else FrozenStages
    kept = None if budget is None else form(network, budget, "cpu")
    rng = torch.Generator()
    network.begin_round(1, batch=recipe.batch, rng=rng.manual_seed(0))  # DRA's first only looks

    def step(batch: EpisodeBatch) -> float:
        batch = replace(batch, rng=rng.manual_seed(0))
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
