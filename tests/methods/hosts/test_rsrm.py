"""RSRM beside its reference vectors: weights, thresholds, masks that vanish, what it refuses."""

import pytest
import torch

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.attention_fusion import (
    fisher_ratio,
    fused,
    layer_weights,
    mean_weights,
    position_channels,
    residual_masks,
    selected_layers,
)
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.rsrm import RSRM, Matching, query_sets, robust_thresholds

from ...support.contract import Episodes, as_a, episodes
from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")


def host() -> RSRM:
    return as_a(RSRM, seeded(build("rsrm", backbone="vit-mini")))


@pytest.fixture(scope="module")
def net() -> RSRM:
    return host()


def matching(net: RSRM, given: Episodes) -> tuple[Matching, FeatureBatch]:
    """What is computed of a single episode, and the supports' states."""
    support = net.encode(given.support_images[0])
    states = net.encode_support(support, given.support_masks[0])
    rows = FeatureBatch.cat([s for s in states if isinstance(s, FeatureBatch)])
    query = net.encode(given.query_images).tensors["A"][0]
    return net.matched([net.enhanced(query, rows)])[0], rows


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([5, 1, 2, 6, 3, 0], [1, 5]),
        ([5, 6, 1, 1, 1, 1], [2]),
        ([1, 1, 1, 1, 1, 9], []),
        ([9, 3, 2, 9, 9, 2], [2, 5]),
        ([2, 2, 2, 2, 2, 2], []),
    ],
)
def test_layers_are_selected_between_those_that_carry_position(
    rates: list[float], expected: list[int]
) -> None:
    found = selected_layers(torch.tensor(rates, dtype=torch.float32))
    assert found.nonzero()[:, 0].tolist() == expected


def test_weights_are_shares_whatever_the_order_of_supports() -> None:
    weights = normal(5, 6).abs()
    found = mean_weights(weights)
    assert float(found.sum()) == pytest.approx(1)
    assert bool((found >= 0).all())
    assert torch.equal(mean_weights(weights[[3, 0, 4, 1, 2]]), found)
    assert mean_weights(torch.zeros(2, 4)).tolist() == [0.25] * 4


def test_fishers_ratio_is_that_of_full_covariances() -> None:
    maps, mask = normal(3, 5, 6, 6).double(), torch.arange(36).reshape(6, 6) % 3 == 0
    expected: list[float] = []
    for layer in maps:
        fore, back = layer[:, mask], layer[:, ~mask]
        within = (torch.cov(fore) + torch.cov(back) + 1e-8).trace()
        expected.append(float((fore.mean(1) - back.mean(1)).square().sum() / within))
    assert fisher_ratio(maps, mask).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [0, 1, 35, 36])
def test_a_support_with_fewer_than_two_tokens_of_a_class_weighs_no_layer(count: int) -> None:
    mask = (torch.arange(36) < count).reshape(6, 6)
    maps = normal(4, 5, 6, 6)
    weights = layer_weights(maps, torch.tensor([0]), mask)
    assert weights.tolist() == [0] * 4
    assert bool(layer_weights(maps, torch.tensor([0]), mask.logical_not()).isfinite().all())


@pytest.mark.parametrize(("channels", "expected"), [(96, 1), (384, 2), (768, 4), (1024, 5)])
def test_one_channel_in_two_hundred_carries_position(channels: int, expected: int) -> None:
    variance = normal(channels).abs()
    variance[7] = 50
    found = position_channels(variance)
    assert found.shape == (expected,)
    assert int(found[0]) == 7


def test_layers_without_weight_are_not_looked_at() -> None:
    maps = normal(3, 4, 5, 5)
    weights = torch.tensor([0.0, 0.4, 0.6])
    expected = sum(w * m / m.std() for w, m in zip(weights[1:], maps[1:], strict=True))
    torch.testing.assert_close(fused(maps, weights), expected)
    maps[0] = torch.inf
    torch.testing.assert_close(fused(maps, weights), expected)
    assert bool(fused(torch.zeros(2, 4, 5, 5), torch.tensor([0.5, 0.5])).isfinite().all())


def test_a_mask_that_has_an_object_has_a_token() -> None:
    for row in range(0, 96, 5):
        for column in range(0, 96, 7):
            mask = torch.zeros(96, 96)
            mask[row, column] = 1
            assert int(residual_masks(mask[None], (6, 6))[0].sum()) == 1
    assert not residual_masks(torch.zeros(96, 96)[None], (6, 6))[0].any()
    assert residual_masks(torch.ones(96, 96)[None], (6, 6))[0].all()


def test_thresholds_that_nearly_best_recover_the_mask_are_averaged() -> None:
    mask = torch.tensor([True, True, False, False])
    fore = torch.tensor([0.9, 0.9, 0.1, 0.1])
    found = robust_thresholds(torch.stack((1 - fore, fore)), mask)
    # 0.15 to 0.9 recover either class; 0 to 0.1 give an IoU of a half, above 0.9 of nothing.
    assert found.tolist() == pytest.approx([0.525, 0.525])


def test_a_query_set_that_would_be_empty_takes_the_twelve_most_probable() -> None:
    fore = torch.linspace(0.2, 0.4, 40)
    sets = query_sets(torch.stack((1 - fore, fore)), torch.tensor([0.9, 0.5]))
    assert sets[0].all()
    assert sets[1].nonzero()[:, 0].tolist() == list(range(28, 40))
    few = query_sets(torch.full((2, 5), 0.5), torch.tensor([0.9, 0.9]))
    assert few.all()


@torch.no_grad()
def test_every_part_keeps_its_bounds(net: RSRM) -> None:
    given = episodes(1, 5, 96)
    found, _ = matching(net, given)
    assert bool(((found.enhanced.thresholds >= 0) & (found.enhanced.thresholds <= 1)).all())
    assert found.enhanced.prior.any(1).all()
    assert bool((found.maps.abs() <= 1 + 1e-6).all())
    assert bool((found.scores.abs() <= 1 / 3 + 1e-6).all())


@torch.no_grad()
def test_the_first_scale_is_the_masked_mean_of_the_enhanced_tokens(net: RSRM) -> None:
    found, support = matching(net, episodes(1, 1, 96))
    query = net.encode(episodes(1, 1, 96).query_images).tensors["A"][0]
    tokens = fused(query, mean_weights(support.tensors["weights"])).flatten(1).T
    mask = support.tensors["mask"][0].flatten()
    for channel, where in ((0, mask), (1, ~mask)):
        prototype = found.enhanced.tokens[0][where].mean(0)
        expected = torch.cosine_similarity(tokens, prototype[None])
        torch.testing.assert_close(found.maps[0, 0, channel], expected)


@torch.no_grad()
def test_an_image_that_is_its_own_support_is_recovered(net: RSRM) -> None:
    given = episodes(1, 1, 128)
    mask = torch.zeros(1, 128, 128)
    mask[:, 32:96, 32:96] = 1
    images = 0.3 * given.query_images + 3 * mask
    found = net.predict(images, images[:, None], mask[:, None])
    both = int((found * mask).sum())
    assert both / float(((found + mask) > 0).sum()) > 0.7


@torch.no_grad()
def test_supports_without_object_are_left_out(net: RSRM) -> None:
    given = episodes(1, 2, 64)
    alone = net.logits(given.query_images, given.support_images[:, :1], given.support_masks[:, :1])
    masks = given.support_masks.clone()
    masks[:, 1] = 0
    assert torch.equal(net.logits(given.query_images, given.support_images, masks), alone)
    masks[:] = 0
    assert not net.predict(given.query_images, given.support_images, masks).any()


@torch.no_grad()
def test_a_tiny_object_and_no_background_give_scores(net: RSRM) -> None:
    given = episodes(1, 2, 96)
    masks = torch.zeros_like(given.support_masks)
    masks[:, 0, 50, 61] = 1
    masks[:, 1] = 1
    scores = net.logits(given.query_images, given.support_images, masks)
    assert bool(scores.isfinite().all())


@torch.no_grad()
def test_features_are_residuals_and_one_number_for_each_channel(net: RSRM) -> None:
    rows = net.encode(episodes(1, 1, 64).query_images)
    shapes = {name: tuple(tensor.shape) for name, tensor in rows.tensors.items()}
    assert shapes == {"A": (1, 6, 96, 4, 4), "variance": (1, 96)}
    assert rows.nbytes == 4 * (6 * 96 * 4 * 4 + 96)


@torch.no_grad()
def test_reduced_precision_reaches_a_mask() -> None:
    net, given = host(), episodes(1, 2, 64)
    expected = net.logits(*given.inputs)
    net.precision = "bf16"
    found = net.logits(*given.inputs)
    assert 0 < float((found - expected).abs().max()) < 0.2
