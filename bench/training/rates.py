"""The learning rate of every part at every step."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.card import Recipe

POLY_POWER = 0.9
"""Exponent of the schedule `poly`, as in DeepLab's trainings."""


def factor(recipe: Recipe, step: int, total: int) -> float:
    """What the rates are multiplied with at a step: a function of the step's number alone.

    The warm-up rises linearly and reaches the full rate with its last step; `cosine` and `poly`
    fall over the steps after it, towards zero after the last one.

    Args:
        recipe: of the training.
        step: from 0.
        total: steps in all.
    """
    warm = recipe.warmup or 0
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / (total - warm)
    if recipe.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if recipe.schedule == "poly":
        return (1 - done) ** POLY_POWER
    drops = (round(float(fraction) * total) for fraction in recipe.schedule)
    return 0.1 ** sum(step >= drop for drop in drops)


def parameter_groups(network: Method, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for an optimiser of what is trained, each with its rate as `initial_lr`.

    A part is `backbone`, `head` (all that does not lie in the backbone), or the beginning of
    parameters' names up to a dot (`backbone.layer3`); the longest name that fits wins, and what no
    name fits has the recipe's rate.

    Raises:
        UserError: if nothing is left to train, or in a part that has a rate of its own.
    """
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if not trained:
        raise UserError("nothing is left to train: every parameter is frozen")
    rates = recipe.lr_parts or {}
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in trained:
        fitting = [part for part in rates if _is_in(name, part)]
        groups.setdefault(max(fitting, key=len, default=""), []).append(parameter)
    for part in rates:
        if not any(_is_in(name, part) for name, _ in trained):
            raise UserError(
                f"--lr-part names '{part}', in which nothing is trained",
                hint=f"parts that are trained: {', '.join(_parts(name for name, _ in trained))}",
            )
    return [
        {"params": groups[part], "lr": rate, "initial_lr": rate, "part": part}
        for part in sorted(groups)
        for rate in (rates.get(part, recipe.lr),)
    ]


def _is_in(name: str, part: str) -> bool:
    if part == "head":
        return not name.startswith("backbone.")
    return name.startswith(f"{part}.") or name == part


def _parts(names: Iterable[str]) -> list[str]:
    """The parts that a message offers."""
    known: dict[str, None] = {}
    for name in names:
        words = name.split(".")
        known["backbone" if words[0] == "backbone" else "head"] = None
        known[".".join(words[:2]) if len(words) > 2 else words[0]] = None
    return sorted(known)
