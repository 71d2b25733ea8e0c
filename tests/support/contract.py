"""The subjects of the contract: every host with every plug-in that fits, and episodes to ask them.

What is registered is found from the cards, so a new method is covered without an edit here.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Literal, TypeVar

import torch
from torch import Tensor

from cdfss_bench.methods import METHODS, Composition, parse
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.conformance import probe
from cdfss_bench.methods.conformance.probe import (
    SIDES,
    Episodes,
    built,
    composition,
    seeded,
    tensors,
)
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.card import MethodCard, Recipe

__all__ = ["SIDES", "Episodes", "built", "composition", "episodes", "seeded", "tensors"]

episodes = cache(probe.episodes)

T = TypeVar("T")


def as_a(kind: type[T], value: object) -> T:
    """`value`, which must be of that class."""
    assert isinstance(value, kind)
    return value


def same_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Holds entries against those that are expected, bit by bit."""
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def same_scores(plain: Method, device: str, *asked: Tensor) -> None:
    """The form for a device scores what is asked like the method itself, up to rounding."""
    with torch.no_grad():
        expected, found = plain.logits(*asked), plain.optimized_for(device).logits(*asked)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5 * float(expected.abs().max()))


def compositions() -> list[str]:
    """Each host and control: bare, with each fitting plug-in, with all that go together.

    Besides, what the cards name: aliases, and what a plug-in's bare name stands for. What learns at
    test is asked there and among all, not once more with each host for itself.
    """
    cards = [METHODS.card(name) for name in METHODS.names()]
    found = [
        "+".join([host.name, *plugins])
        for host in cards
        if host.kind in ("host", "control")
        for plugins in _carried(host, cards)
    ]
    found += [c.composition or c.alone for c in cards if c.composition or c.alone]
    return list(dict.fromkeys(found))


def _carried(host: MethodCard, cards: Sequence[MethodCard]) -> Iterator[tuple[str, ...]]:
    fitting = [c for c in cards if c.kind == "plugin" and c.place in host.offers]
    # What needs a transformer is asked on one, with the others of its place.
    needing = [card for card in fitting if card.needs]
    fitting = [card for card in fitting if not card.needs]
    yield ()
    if any(not BACKBONES.card(name).pyramid for name in host.backbones):
        yield from ((card.name,) for card in needing)
        for card in needing:
            beside = [c.name for c in fitting if c.place == card.place]
            yield (*beside[:1], card.name, *beside[1:])
    yield from ((card.name,) for card in fitting if card.adaptation == "none")
    together: list[MethodCard] = []
    for card in fitting:
        if not any(card.name in other.excludes for other in together):
            together.append(card)
    if len(together) > 1:
        yield tuple(card.name for card in together)


def trained_compositions() -> list[str]:
    """Those whose host has a recipe: bare, with each plug-in that trains, with all together.

    Another single plug-in plays no part in training.
    """

    def differs(found: Composition) -> bool:
        return len(found.plugins) != 1 or found.plugins[0].card.trains

    parsed = {name: parse(name) for name in compositions()}
    return [n for n, found in parsed.items() if found.host.card.recipe and differs(found)]


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
