"""PerSAM and PerSAM-F against vectors of the published scripts, run whole."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from cdfss_bench.methods.backbones.sam import SAM
from cdfss_bench.methods.blocks.mask_mixture import mixing_steps
from cdfss_bench.methods.blocks.sam_calls import Answer, PromptedImage, pixel_of
from cdfss_bench.methods.blocks.sam_decoder import Guide
from cdfss_bench.methods.blocks.sam_frames import MEAN, STD
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.persam import (
    PerSAM,
    attention_map,
    averaged,
    cells,
    similarity,
)

from ...support.sam_vectors import REDUCED, SAMVectors, freed
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

stored = stored_vectors(SAMVectors, "persam.npz")


@dataclass(frozen=True)
class Scene:
    """A query and its references: 8-bit pictures [3, H, W] or embeddings, and masks [H, W]."""

    query: Tensor
    references: list[Tensor]
    masks: list[Tensor]
    size: tuple[int, int]


def scene(stored: SAMVectors, case: str, names: tuple[str, ...] = ("ref",)) -> Scene:
    """By the recipe of the case's inputs."""
    specs = stored.cases[case]["inputs"]
    recipe = next(s for s in specs if "prefix" in s)
    prefix = recipe["prefix"]
    shape = specs[0]["shape"]
    make = embedding if "g" in recipe else picture
    masks = {n: stored.input(f"{prefix}.{n}.mask", shape, "mask") for n in (*names, "query")}
    made = {n: make(stored, prefix, n, masks[n]) for n in masks}
    return Scene(
        made["query"], [made[n] for n in names], [masks[n] for n in names], (shape[0], shape[1])
    )


def embedding(stored: SAMVectors, prefix: str, name: str, mask: Tensor, side: int = 64) -> Tensor:
    places = ((torch.arange(side) + 0.5) * mask.shape[0] / side).floor().long()
    small = mask[places][:, places]
    noise = stored.input(f"{prefix}.{name}.noise", (256, side, side))
    fore = stored.input(f"{prefix}.fg", (256, 1, 1))
    back = stored.input(f"{prefix}.bg", (256, 1, 1))
    return 0.2 * noise + (fore * small + back * (1 - small))


def picture(stored: SAMVectors, prefix: str, name: str, mask: Tensor) -> Tensor:
    height, width = mask.shape
    m = mask[..., None].numpy()
    other = stored.input(f"{prefix}.{name}.other", (height, width), "mask")[..., None].numpy()
    other = other * (1 - m)
    colours = [stored.input(f"{prefix}.{c}rgb", (3,)).numpy() for c in ("other", "fg", "bg")]
    noise = stored.input(f"{prefix}.{name}.noise", (height, width, 3)).numpy()
    values = np.float32(128) + 90 * other * colours[0]
    values = values + 50 * (m * colours[1] + (1 - m) * colours[2])
    values = values + 8 * noise
    return torch.from_numpy(np.clip(np.round(values), 0, 255).astype(np.uint8)).permute(2, 0, 1)


def method(stored: SAMVectors, case: str, side: int, *, finetune: bool = False) -> PerSAM:
    network = stored.filled(case, SAM(dataclasses.replace(REDUCED, side=side)))
    freed(network)
    return PerSAM(network, finetune=finetune).eval()


def rows(net: PerSAM, given: Tensor, size: tuple[int, int]) -> FeatureBatch:
    """Features of a picture, or an embedding in their place."""
    if given.dtype == torch.uint8:
        mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
        return net.encode((given.float() - mean)[None] / std)
    return FeatureBatch(size, {"neck": given[None]})


def prompted(net: PerSAM, given: FeatureBatch) -> PromptedImage:
    sam = net.backbone
    neck = given.tensors["neck"][0]
    return PromptedImage(sam.prompt_encoder, sam.mask_decoder, neck, net.frame(given.size))


def check_answers(stored: SAMVectors, case: str, answers: list[Answer]) -> None:
    """What each call gave, as far as it is stored."""
    found: dict[str, Tensor] = {}
    for number, answer in enumerate(answers, start=1):
        found[f"step{number}.low"] = answer.low
        found[f"step{number}.scores"] = answer.scores
        found[f"step{number}.mask"] = answer.high[answer.best] > 0
    found["best"] = torch.tensor([answer.best for answer in answers[1:]])
    last = answers[-1]
    found["box"] = torch.tensor(last.box)
    found["boxes"] = torch.tensor([a.box for a in answers if a.box is not None])
    found["final_logits"] = last.high[last.best]
    found["final"] = found["final_logits"] > 0
    for name in stored.outputs(case):
        if name in found:
            stored.check(case, name, found[name])


CASES = {
    "persam64": (1024, 255),
    "persam64a128": (1024, 128),
    "persam_e2e": (256, 255),
    "persam_rect": (256, 255),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_every_step_of_persam_is_as_published(case: str, stored: SAMVectors) -> None:
    side, amplitude = CASES[case]
    given, net = scene(stored, case), method(stored, case, side)
    reference, query = (rows(net, r, given.size) for r in (given.references[0], given.query))
    neck = reference.tensors["neck"][0]
    inside = cells(given.masks[0][None], net.frame(given.size), neck[None], amplitude=amplitude)[0]
    target = neck[:, inside].mean(1)
    image = prompted(net, query)
    similar = similarity(image, target)
    stored.check(case, "cells", inside)
    stored.check(case, "target_embedding", target)
    stored.check(case, "target_feat", target / target.norm())
    stored.check(case, "sim", similar)
    points = [pixel_of(similar), pixel_of(similar, highest=False)]
    stored.check(case, "points", torch.tensor(points))
    stored.check(case, "attn_sim", attention_map(similar, image.embedding)[0])
    check_answers(stored, case, net.answers(image, target))


@pytest.mark.parametrize("case", ["persam64", "persam_e2e", "persam_rect"])
@torch.no_grad()
def test_the_method_as_it_is_run_gives_the_published_mask(case: str, stored: SAMVectors) -> None:
    given, net = scene(stored, case), method(stored, case, CASES[case][0])
    reference, query = (rows(net, r, given.size) for r in (given.references[0], given.query))
    logits = net.match(query, reference, given.masks[0][None, None])
    mask = net.decide(logits, given.size)
    stored.check(case, "final_logits", logits[0, 0, 1])
    stored.check(case, "final", mask[0])


@torch.no_grad()
def test_guide_and_target_enter_the_decoder_as_published(stored: SAMVectors) -> None:
    case = "guided16"
    net = method(stored, case, 256).backbone
    image, sparse, noise, attention, target = stored.inputs(case)
    positions = net.prompt_encoder.dense_positions((16, 16))
    attention = attention.flatten(1)
    guides = {
        "plain": None,
        "attn": Guide(attention),
        "target": Guide(None, target),
        "both": Guide(attention, target),
    }
    for name, guide in guides.items():
        masks, scores = net.mask_decoder.all_masks(
            image, positions, sparse, 0.5 * noise, guide=guide
        )
        stored.check(case, name, masks)
        stored.check(case, f"{name}_iou", scores)


@torch.no_grad()
def test_three_supports_act_by_the_mean_of_their_targets(stored: SAMVectors) -> None:
    case = "kshot3"
    given = scene(stored, case, ("ref0", "ref1", "ref2"))
    net = method(stored, case, 1024)
    support = FeatureBatch.cat([rows(net, r, given.size) for r in given.references])
    query, masks = rows(net, given.query, given.size), torch.stack(given.masks)[None]
    states = net.encode_support(support, masks[0])
    means = torch.stack([s.tensors["mean"] for s in states if isinstance(s, FeatureBatch)], dim=1)
    target = averaged(means)[0, 0]
    image = prompted(net, query)
    similar = similarity(image, target)
    stored.check(case, "target_embedding", target)
    stored.check(case, "sim", similar)
    points = [pixel_of(similar), pixel_of(similar, highest=False)]
    stored.check(case, "points", torch.tensor(points))
    check_answers(stored, case, net.answers(image, target))
    stored.check(case, "final", net.decide(net.match(query, support, masks), given.size)[0])


@torch.no_grad()
def test_persam_f_learns_the_published_mixture_and_refines_with_it(stored: SAMVectors) -> None:
    case = "persamf64"
    given, net = scene(stored, case), method(stored, case, 1024, finetune=True)
    reference, query = (rows(net, r, given.size) for r in (given.references[0], given.query))
    masks = given.masks[0][None]
    (state,) = net.encode_support(reference, masks)
    assert isinstance(state, FeatureBatch)
    target = state.tensors["peak"][0]
    seen = prompted(net, reference)
    similar = similarity(seen, target)
    stored.check(case, "target_feat", target / target.norm())
    stored.check(case, "ref_sim", similar)
    stored.check(case, "ref_point", torch.tensor([pixel_of(similar)]))
    answer = seen.ask([pixel_of(similar)], [1])
    stored.check(case, "train_low", answer.low)
    stored.check(case, "train_high", answer.high)
    logits = net.support_logits(reference, masks)
    assert torch.equal(logits[0], answer.high)
    steps = [
        (s.dice, s.focal, s.gradient, s.rate, s.mixture)
        for s in mixing_steps(logits, masks, net.steps)
    ]
    begin = steps[:3]
    stored.check(case, "losses", torch.tensor([[s[0], s[1]] for s in begin]))
    stored.check(case, "grads", torch.stack([s[2] for s in begin]))
    stored.check(case, "weights", torch.stack([s[4][1:] for s in begin]))
    stored.check(case, "lrs", torch.tensor([s[3] for s in begin], dtype=torch.float64))
    stored.check(case, "final_weights", steps[-1][4])

    ready = net.adapt_encoded(reference, masks)
    assert isinstance(ready, PerSAM)
    assert ready.mixture is not None
    assert net.mixture is None
    stored.check(case, "final_weights", ready.mixture)
    image = prompted(ready, query)
    similar = similarity(image, target)
    stored.check(case, "sim", similar)
    stored.check(case, "point", torch.tensor([pixel_of(similar)]))
    answers = ready.answers(image, target)
    low, high = answers[0].low, answers[0].high
    stored.check(case, "weighted_low", torch.einsum("m,mhw->hw", ready.mixture, low))
    stored.check(case, "weighted_high", torch.einsum("m,mhw->hw", ready.mixture, high))
    check_answers(stored, case, answers)
    logits = ready.match(query, reference, masks[None])
    stored.check(case, "final", ready.decide(logits, given.size)[0])
