"""The contract's checks of one method, as a contributor runs them.

Each check is a function that raises `Broken` with one sentence. Parameters are drawn, so that no
weights are needed; images are small and drawn too.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import pickle
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cdfss_bench.errors import UserError

from ..blocks.voting import upsampled
from ..core.method import Method
from ..registry.name_grammar import parse
from .probe import Episodes, built, episodes, seeded, side, tensors

STEPS = (
    "features",
    "encode",
    "support_states",
    "encode_support",
    "score",
    "match",
    "match_states",
    "decide",
    "predict",
    "logits",
    "adapt",
    "adapt_encoded",
    "adapted_to",
)
"""What the evaluator calls, and what those call."""

TOLERANCE = 2e-5
"""Largest difference of scores between two orders of the same sum."""


class Broken(AssertionError):
    """Why a method fails a check, in one sentence."""


@dataclass(frozen=True)
class Subject:
    """A composition with drawn parameters, on its smallest backbone."""

    name: str

    @cached_property
    def network(self) -> Method:
        """Shared by all checks: whoever changes it takes `fresh()`."""
        return seeded(built(self.name))

    def fresh(self) -> Method:
        """A network of one's own."""
        return copy.deepcopy(self.network)

    def asked(self, count: int = 2, shots: int = 2, seed: int = 0) -> Episodes:
        """Episodes of the smallest size that the method accepts."""
        return episodes(count, shots, self.side, seed=seed)

    @cached_property
    def side(self) -> int:
        """The smallest side that the method accepts."""
        return side(self.network)

    def masks(self, given: Episodes, network: Method | None = None) -> Tensor:
        """What is predicted."""
        with torch.no_grad():
            return (network or self.network).predict(*given.inputs)

    def scores(self, given: Episodes, network: Method | None = None) -> Tensor:
        """What the prediction rests on."""
        with torch.no_grad():
            return (network or self.network).logits(*given.inputs)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check, in words, found wrong (empty if nothing), and the seconds that it took."""

    check: str
    problem: str
    seconds: float


def examined(name: str) -> Iterator[Finding]:
    """The results of every check of the composition `name`, one after the other.

    Raises:
        UserError: if the name is unknown or the composition impossible.
    """
    subject = Subject(name)
    parse(name)
    for check in CHECKS:
        began = time.perf_counter()
        try:
            check(subject)
            problem = ""
        except Broken as broken:
            problem = str(broken)
        except UserError as error:
            problem = error.problem
        except Exception as error:  # a contributor's code may raise anything; it is reported
            problem = f"{type(error).__name__}: {error}"
        yield Finding(in_words(check), problem, time.perf_counter() - began)


def in_words(check: Callable[[Subject], None]) -> str:
    """`an_episode_stands_alone` as a sentence."""
    return check.__name__.replace("_", " ")


def one_mask_of_zeros_and_ones_per_query(subject: Subject) -> None:
    """Section 3 of the contract: uint8 [B, H, W], for one shot and for five, for any shape."""
    short = subject.side
    for shots in (1, 5):
        for width in (short, short * 3 // 2):
            found = subject.masks(episodes(2, shots, short, width))
            if found.dtype != torch.uint8 or found.shape != (2, short, width):
                raise Broken(
                    f"predict gives {found.dtype} {list(found.shape)} for two {shots}-shot "
                    f"episodes of {short}x{width}, not uint8 [2, {short}, {width}]"
                )
            if int(found.max()) > 1:
                raise Broken("predict gives values other than 0 and 1")


def scores_are_finite_and_decide(subject: Subject) -> None:
    """`logits` are float32 [B, K or 1, 2, H, W], and deciding on them is predicting."""
    given = subject.asked(2, 5)
    found = subject.scores(given)
    if found.dtype != torch.float32 or found.shape not in {(2, k, 2, *given.size) for k in (1, 5)}:
        raise Broken(f"logits gives {found.dtype} {list(found.shape)}, not float32 [2, 5 or 1, 2]")
    if not bool(found.isfinite().all()):
        raise Broken("logits are not finite")
    if not torch.equal(subject.network.decide(found, given.size), subject.masks(given)):
        raise Broken("deciding on the logits is not predicting")


def empty_and_full_supports_still_give_scores(subject: Subject) -> None:
    """A support without object, or without background, must not give NaN."""
    query, images, truth = subject.asked().inputs
    for value in (0, 1):
        with torch.no_grad():
            found = subject.network.logits(query, images, torch.full_like(truth, value))
        if not bool(found.isfinite().all()):
            raise Broken(f"a support mask of only {value} gives scores that are not finite")


def the_same_episode_gives_the_same_scores(subject: Subject) -> None:
    """Whatever was asked between, and for any network with the same parameters."""
    before = subject.scores(subject.asked())
    subject.masks(subject.asked(3, 1, seed=1))
    if not torch.equal(subject.scores(subject.asked()), before):
        raise Broken(
            "the scores of the same episode differ the second time: something is remembered"
        )
    copied = seeded(built(subject.name))
    if not torch.equal(subject.scores(subject.asked(), copied), before):
        raise Broken("two networks with equal parameters differ: something outside them counts")


def an_episode_stands_alone(subject: Subject) -> None:
    """Its result depends neither on the batch it came in nor on the order of the others."""
    for shots in (1, 5):
        given = subject.asked(3, shots)
        together = subject.scores(given)
        for i in range(3):
            if not torch.equal(subject.scores(given.only([i]))[0], together[i]):
                raise Broken(f"a {shots}-shot episode scores differently alone and in a batch")
        if not torch.equal(subject.scores(given.only([2, 0, 1])), together[[2, 0, 1]]):
            raise Broken("an episode scores differently in another order of the batch")


def an_image_is_encoded_alone_and_without_its_role(subject: Subject) -> None:
    """Features can be kept and shared: row i depends on image i, query or support."""
    net = subject.network
    here, elsewhere = subject.asked(3).query_images, subject.asked(3, seed=1).query_images
    with torch.no_grad():
        alone = net.encode(here[1:2])
        others = net.encode(torch.stack((elsewhere[0], here[1], elsewhere[2])))
    for key, tensor in alone.tensors.items():
        if not torch.equal(others.tensors[key][1], tensor[0]):
            raise Broken(f"the features '{key}' of an image depend on the images beside it")


def the_three_steps_are_predict(subject: Subject) -> None:
    """encode, then encode_support and match_states, then decide: as the evaluator calls them."""
    net, given = subject.network, subject.asked(2, 3)
    with torch.no_grad():
        query = net.encode(given.query_images)
        support = net.encode(given.support_images.flatten(0, 1))
        states = net.encode_support(support, given.support_masks.flatten(0, 1))
        matched = net.match_states(query, states, shots=3)
    if not torch.equal(upsampled(matched, given.size).float(), subject.scores(given)):
        raise Broken(
            "encode, encode_support and match_states in a row give other scores than logits"
        )


def the_order_of_supports_does_not_matter(subject: Subject) -> None:
    """Shots are a set; sums over them may round differently."""
    given, order = subject.asked(2, 5), [3, 1, 4, 0, 2]
    straight, reordered = subject.scores(given), subject.scores(given.reordered(order))
    if straight.shape[1] == 5:
        straight = straight[:, order]
    worst = float((straight - reordered).abs().max())
    if worst > TOLERANCE:
        raise Broken(f"scores differ by {worst:.2g} when the supports come in another order")


def predicting_changes_nothing(subject: Subject) -> None:
    """No parameter, no buffer, no input, no global generator."""
    net, given = subject.fresh(), subject.asked()
    inputs = [tensor.clone() for tensor in given.inputs]
    before, state = tensors(net), generator_states()
    net.predict(*inputs)
    after = tensors(net)
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    if changed or before.keys() != after.keys():
        raise Broken(f"predict changes {', '.join(changed) or 'the set of parameters'}")
    if any(not torch.equal(a, b) for a, b in zip(inputs, given.inputs, strict=True)):
        raise Broken("predict writes into its inputs")
    if generator_states() != state:
        raise Broken("predict draws from a global random generator; pass a generator")


def no_step_is_handed_the_mask_of_the_query(subject: Subject) -> None:
    """The signatures are those of `Method`: there is no place where a query mask could come in."""
    for step in STEPS:
        promised = list(inspect.signature(getattr(Method, step)).parameters)
        found = list(inspect.signature(getattr(type(subject.network), step)).parameters)
        if found != promised:
            raise Broken(f"{step}({', '.join(found)}) should be {step}({', '.join(promised)})")
        masks = {argument for argument in found if re.search("mask|truth|label", argument)}
        if not masks <= {"masks", "support_masks"}:
            raise Broken(f"{step} takes {', '.join(sorted(masks))}")


def adapting_is_declared_private_and_repeatable(subject: Subject) -> None:
    """The card says it; `self` and the global generators stay as they are; the seed decides."""
    net, given = subject.fresh(), subject.asked(1, 2)
    declared = parse(subject.name).adaptation
    if net.adaptation != declared:
        raise Broken(f"the card says adaptation: {declared}, the network {net.adaptation}")
    kept, state = tensors(net), generator_states()

    def adapted() -> Tensor:
        ready = net.adapt(
            given.support_images[0],
            given.support_masks[0],
            rng=torch.Generator().manual_seed(0),
            query_image=given.query_images[0] if net.adaptation == "transductive" else None,
        )
        return subject.scores(given, ready)

    if not torch.equal(adapted(), adapted()):
        raise Broken("adapting twice with the same generator gives two different results")
    if generator_states() != state:
        raise Broken("adapt draws from a global random generator; draw from `rng`")
    changed = [key for key, value in tensors(net).items() if not torch.equal(kept[key], value)]
    if changed:
        raise Broken(f"adapt changes the method itself ({changed[0]}); return a changed copy")


def the_state_dict_can_be_saved_and_loaded(subject: Subject) -> None:
    """Saved and loaded into another network, it gives the same scores."""
    other = seeded(built(subject.name), seed=1)
    other.load_state_dict(subject.network.state_dict())
    given = subject.asked()
    if not torch.equal(subject.scores(given, other), subject.scores(given)):
        raise Broken("a network with the same state dict scores differently")


def the_loss_is_finite_and_reaches_what_is_trained(subject: Subject) -> None:
    """For a host with a recipe: a finite scalar whose gradient reaches trained parameters."""
    recipe = parse(subject.name).host.card.recipe
    if recipe is None:
        return
    net = subject.fresh().train()
    net.backbone.freeze(recipe.frozen_stages)
    batch, state = subject.asked().batch(), generator_states()
    loss = net.loss(batch)
    if loss.shape != () or not bool(loss.isfinite()):
        raise Broken(f"loss gives {loss.detach()}, not a finite scalar")
    if not loss.requires_grad:
        raise Broken("the loss depends on no parameter that the recipe trains")
    loss.backward()
    if generator_states() != state:
        raise Broken("loss draws from a global random generator; draw from batch.rng")
    if not any(p.grad is not None and bool(p.grad.any()) for p in net.parameters()):
        raise Broken("the gradient of the loss reaches no parameter")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    one_mask_of_zeros_and_ones_per_query,
    scores_are_finite_and_decide,
    empty_and_full_supports_still_give_scores,
    the_same_episode_gives_the_same_scores,
    an_episode_stands_alone,
    an_image_is_encoded_alone_and_without_its_role,
    the_three_steps_are_predict,
    the_order_of_supports_does_not_matter,
    predicting_changes_nothing,
    no_step_is_handed_the_mask_of_the_query,
    adapting_is_declared_private_and_repeatable,
    the_state_dict_can_be_saved_and_loaded,
    the_loss_is_finite_and_reaches_what_is_trained,
)
"""In the order in which they are asked."""


def generator_states() -> tuple[str, ...]:
    """Digests of the states of torch's, numpy's and Python's global generators."""
    states = (torch.get_rng_state().tolist(), np.random.get_state(), random.getstate())  # noqa: NPY002
    return tuple(hashlib.sha256(pickle.dumps(state)).hexdigest() for state in states)
