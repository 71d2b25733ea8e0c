"""The reconstruction of APSeg on the mini suite's SAM: what is stated, and what must follow."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.anchors import (
    coordinates,
    normalised,
    prototype_basis,
    transformed,
)
from cdfss_bench.methods.blocks.sam_frames import Frame
from cdfss_bench.methods.conformance.probe import episodes, seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.apseg import APSeg, Prompts, cell_shares, dice

pytestmark = pytest.mark.usefixtures("one_thread")


def apseg(**options: float | str) -> APSeg:
    method = seeded(build("apseg", backbone="sam-mini", **options))
    assert isinstance(method, APSeg)
    return method


def states_of(method: APSeg, images: Tensor, masks: Tensor) -> FeatureBatch:
    states = method.encode_support(method.encode(images), masks)
    return FeatureBatch.cat([state for state in states if isinstance(state, FeatureBatch)])


@torch.no_grad()
def fused_of(method: APSeg, query: Tensor, supports: FeatureBatch) -> tuple[Tensor, Tensor]:
    parts = (supports.tensors[name] for name in ("neck", "shares", "prototypes"))
    return method.fused(query, *parts)


@torch.no_grad()
def test_prototypes_are_mapped_onto_the_anchors() -> None:
    """W P = A, with the columns of P and A normalised."""
    method, given = apseg(), episodes(2, 1, 64)
    supports = states_of(method, given.support_images[:, 0], given.support_masks[:, 0])
    query = method.encode(given.query_images).tensors["neck"]
    for row in range(2):
        fused, _ = fused_of(method, query[row], supports[row : row + 1])
        basis = prototype_basis(fused[:1], fused[1:])
        columns = normalised(fused).t()[None, :, :, None]
        mapped = transformed(coordinates(basis, columns), method.anchors)[0, ..., 0]
        assert torch.allclose(mapped, normalised(method.anchors).t(), atol=1e-6)
        whole = transformed(coordinates(basis, query[row : row + 1]), method.anchors)
        # The same as multiplying every cell with W = A P^+.
        matrix = normalised(method.anchors).t() @ torch.linalg.pinv(columns[0, ..., 0])
        direct = torch.einsum("dc,chw->dhw", matrix, query[row])
        assert torch.allclose(whole[0], direct, atol=1e-5)
        singular = torch.linalg.svdvals(whole[0].flatten(1).double())
        assert float(singular[1]) > 1e-3 * float(singular[0])
        assert float(singular[2]) < 1e-6 * float(singular[0])


@torch.no_grad()
def test_the_pseudo_query_of_a_shifted_support_is_its_object() -> None:
    """Its prototypes are the support's where the cells are the same in other places."""
    method = apseg(alpha=0.0)
    cells = torch.randn(64, 16, 16, generator=torch.Generator().manual_seed(3))
    share = torch.zeros(2, 16, 16)
    share[1, 4:9, 5:11] = 1
    share[0] = 1 - share[1]
    means = torch.stack([(cells * each).sum((1, 2)) / each.sum() for each in share])
    fused, prior = method.fused(
        cells.roll((3, 2), dims=(1, 2)), cells[None], share[None], means[None]
    )
    assert torch.allclose(fused, means, atol=1e-5)
    assert torch.equal(prior[0] > 0.99, share[1].roll((3, 2), dims=(0, 1)) > 0)


@torch.no_grad()
def test_a_class_that_keeps_no_cell_has_the_supports_prototype() -> None:
    method = apseg(alpha=0.25)
    rng = torch.Generator().manual_seed(4)
    support, query = (torch.randn(64, 16, 16, generator=rng) for _ in range(2))
    share = torch.stack((torch.ones(16, 16), torch.zeros(16, 16)))
    own = torch.randn(2, 64, generator=rng)
    fused, prior = method.fused(query, support[None], share[None], own[None])
    assert torch.allclose(fused[1], own[1])
    assert not torch.allclose(fused[0], own[0])
    assert not prior.any()


@torch.no_grad()
def test_alpha_weighs_the_support_and_the_pseudo_query() -> None:
    given = episodes(1, 1, 64)
    found: list[Tensor] = []
    for alpha in (0.0, 0.5, 1.0):
        method = apseg(alpha=alpha)
        supports = states_of(method, given.support_images[0], given.support_masks[0])
        query = method.encode(given.query_images).tensors["neck"][0]
        found.append(fused_of(method, query, supports)[0])
        if alpha == 1:
            assert torch.equal(found[-1], supports.tensors["prototypes"][0])
    assert not torch.allclose(found[0], found[2], atol=1e-3)
    assert torch.allclose(found[1], (found[0] + found[2]) / 2, atol=1e-6)


@torch.no_grad()
def test_training_begins_with_a_sam_that_was_given_no_mask() -> None:
    method, given = build("apseg", backbone="sam-mini"), episodes(2, 1, 64)
    assert isinstance(method, APSeg)
    rows = method.encode(given.query_images)
    query = rows.tensors["neck"]
    supports = states_of(method, given.support_images[:, 0], given.support_masks[:, 0])
    prompts = method.prompts(query, supports)
    sam, grid = method.backbone, (16, 16)
    nothing, none = sam.prompt_encoder(frame=(128, 128), grid=grid)
    assert torch.equal(prompts.dense, none.expand_as(prompts.dense))
    unprompted, _ = sam.mask_decoder(
        query,
        sam.prompt_encoder.dense_positions(grid),
        nothing.expand(2, -1, -1),
        none.expand(2, -1, -1, -1),
        several=False,
    )
    alone = Prompts(prompts.sparse[:, :0], prompts.dense)
    assert torch.equal(method.decoded(query, alone), unprompted)


def test_gradients_reach_anchors_and_generator_only() -> None:
    method, batch = apseg().train(), episodes(2, 2, 64).batch()
    method.loss(batch).backward()
    named = dict(method.named_parameters())
    reached = {n for n, p in named.items() if p.grad is not None and bool(p.grad.any())}
    assert reached == {n for n in named if n == "anchors" or n.startswith("generator.")}
    assert not any(parameter.requires_grad for parameter in method.backbone.parameters())
    assert {id(p) for p in method.head()} == {id(named[n]) for n in reached}


def test_undecided_pixels_do_not_count() -> None:
    method, given = apseg().train(), episodes(2, 1, 64)
    truth = given.query_masks.clone()
    truth[:, :20] = 255
    with torch.no_grad():
        terms = method.loss_terms(replace(given.batch(), query_masks=truth))
        logits = method.logits(*given.inputs)[:, :, 1]
    inside, decided = (truth == 1)[:, None].float(), (truth != 255)[:, None]
    entropy = F.binary_cross_entropy_with_logits(logits[decided], inside[decided])
    assert torch.allclose(terms["entropy"].value, entropy, atol=1e-5)
    assert torch.allclose(terms["dice"].value, dice(logits, inside, decided), atol=1e-5)
    assert all(term.weight == 1 for term in terms.values())


def test_dice_of_one_mask_by_hand() -> None:
    logits = torch.tensor([[[[50.0, -50.0], [50.0, 50.0]]]])
    truth = torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]])
    decided = torch.tensor([[[[True, True], [True, False]]]])
    # One pixel in common, two predicted, two true; the fourth is undecided.
    assert float(dice(logits, truth, decided)) == pytest.approx(1 - (2 + 1) / (2 + 2 + 1))


@pytest.mark.parametrize("combine", ["vote", "prototype_mean", "token_concat"])
@torch.no_grad()
def test_one_support_is_the_same_by_every_rule(combine: str) -> None:
    given = episodes(2, 1, 64)
    found, expected = (apseg(combine=c).logits(*given.inputs) for c in (combine, "vote"))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("combine", ["vote", "prototype_mean", "token_concat"])
@torch.no_grad()
def test_an_episode_of_three_supports_stands_alone(combine: str) -> None:
    method, given = apseg(combine=combine), episodes(3, 3, 64)
    assert method.votes == (combine == "vote")
    together = method.logits(*given.inputs)
    assert together.shape == (3, 3 if combine == "vote" else 1, 2, 64, 64)
    assert torch.equal(method.logits(*given.only([1]).inputs)[0], together[1])
    reordered = method.logits(*given.reordered([2, 0, 1]).inputs)
    if combine == "vote":
        reordered = reordered[:, [1, 2, 0]]
    assert torch.allclose(reordered, together, atol=2e-5)


def test_padding_belongs_to_neither_class() -> None:
    mask = torch.zeros(1, 64, 96, dtype=torch.uint8)
    mask[:, 16:48, 32:64] = 1
    shares = cell_shares(mask, Frame((64, 96), 96), torch.empty(1, 4, 12, 12))
    assert torch.equal(shares.sum(1)[0, :7], torch.ones(7, 12))
    assert not shares[0, :, 9:].any()


@pytest.mark.parametrize(("key", "value"), [("tokens", 1), ("tokens", 3), ("input_size", 64)])
@torch.no_grad()
def test_options_for_what_is_not_stated(key: str, value: int) -> None:
    method, given = apseg(**{key: value}), episodes(1, 1, 64)
    assert method.predict(*given.inputs).shape == (1, 64, 64)
    if key == "tokens":
        supports = states_of(method, given.support_images[0], given.support_masks[0])
        query = method.encode(given.query_images).tensors["neck"]
        assert method.prompts(query, supports).sparse.shape[1] == value + 1
