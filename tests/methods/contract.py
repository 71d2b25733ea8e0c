"""The subjects of the contract: every host with every plug-in that fits, and episodes to ask them.

What is registered is found from the cards, so a new method is covered without an edit here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import Literal

from torch import Tensor

from cdfss_bench.methods import METHODS, parse, probe
from cdfss_bench.methods.base import Method
from cdfss_bench.methods.card import MethodCard, Recipe
from cdfss_bench.methods.probe import SIDES, Episodes, built, composition, seeded, tensors

__all__ = ["SIDES", "Episodes", "built", "composition", "episodes", "seeded", "tensors"]

episodes = cache(probe.episodes)


def compositions() -> list[str]:
    """Each host and control: bare, with each fitting plug-in, each pair, and all of them."""
    cards = [METHODS.card(name) for name in METHODS.names()]
    return [
        "+".join([host.name, *plugins])
        for host in cards
        if host.kind in ("host", "control")
        for plugins in _carried(host, cards)
    ]


def _carried(host: MethodCard, cards: Sequence[MethodCard]) -> Iterator[tuple[str, ...]]:
    fitting = tuple(c.name for c in cards if c.kind == "plugin" and c.place in host.offers)
    for size in range(min(len(fitting), 2) + 1):
        yield from combinations(fitting, size)
    if len(fitting) > 2:
        yield fitting


def trained_compositions() -> list[str]:
    """Those whose host has a recipe."""
    return [name for name in compositions() if parse(name).host.card.recipe is not None]


def recipe(name: str) -> Recipe:
    """How the composition's host is trained."""
    found = parse(name).host.card.recipe
    assert found is not None
    return found


@cache
def network(name: str) -> Method:
    """The composition with seeded parameters; whoever changes it takes a `fresh` one."""
    return seeded(built(name))


def fresh(name: str) -> Method:
    """As `network`, one's own."""
    return copy.deepcopy(network(name))


@cache
def side(name: str) -> int:
    """The smallest side that the method accepts."""
    return probe.side(network(name))


def with_undecided(masks: Tensor, *, edge: Literal["top", "left"] = "top") -> Tensor:
    """A copy of `masks` whose first quarter of rows (or columns) is 255."""
    changed = masks.clone()
    if edge == "top":
        changed[..., : masks.shape[-2] // 4, :] = 255
    else:
        changed[..., : masks.shape[-1] // 4] = 255
    return changed
