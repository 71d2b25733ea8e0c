"""The forms that inference runs against the plain ones: the same scores up to rounding."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.bench.cost.profile import flops_of
from cdfss_bench.methods.backbones.card import BACKBONES, build_backbone
from cdfss_bench.methods.backbones.dino import MaskedLinear
from cdfss_bench.methods.blocks.conv4d import Squeeze
from cdfss_bench.methods.blocks.correlation import hypercorrelation
from cdfss_bench.methods.blocks.hpn import HPNLearner
from cdfss_bench.methods.blocks.prototypes import cosine_scores, resized_masks
from cdfss_bench.methods.blocks.self_support import local_prototypes
from cdfss_bench.methods.core.adaptation import learning
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.fast import products, projections
from cdfss_bench.methods.fast.attention import Rounds
from cdfss_bench.methods.fast.convolution import Convolution3x3
from cdfss_bench.methods.fast.decoding import Decoder
from cdfss_bench.methods.fast.flat_squeeze import FlatSqueeze, flat
from cdfss_bench.methods.fast.folded import folded
from cdfss_bench.methods.fast.groups import group_affine
from cdfss_bench.methods.fast.hsnet import FastHSNet
from cdfss_bench.methods.fast.mixing import Mixing, Part
from cdfss_bench.methods.fast.products import fill_rank_two, product
from cdfss_bench.methods.fast.projections import projected
from cdfss_bench.methods.fast.self_correlation import self_correlation
from cdfss_bench.methods.fast.sparse_pyramid import SparsePyramid, Volume
from cdfss_bench.methods.fast.spots import position_rows, spotted, unit_rows
from cdfss_bench.methods.fast.windows import runs

from ...support.contract import (
    as_a,
    compositions,
    episodes,
    fresh,
    network,
    same_scores,
    same_tensors,
    side,
    tensors,
)
from ...support.draws import normal

every = pytest.mark.parametrize("name", compositions())


# -- whole methods ---------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_scores_are_those_of_the_plain_form(name: str, device: str) -> None:
    """The form for another device computes here too: what moves to the device is its tensors."""
    same_scores(network(name), device, *episodes(2, 2, side(name)).inputs)


@pytest.mark.parametrize("name", ["ssp", "loec", "hsnet", "patnet"])
@pytest.mark.parametrize("which", ["empty", "full", "corner"])
def test_odd_masks_are_no_special_case(name: str, which: str) -> None:
    plain = network(name)
    given = episodes(1, 1, side(name))
    masks = torch.zeros_like(given.support_masks)
    if which == "full":
        masks[:] = 1
    elif which == "corner":
        masks[..., :3, :3] = 1
    same_scores(plain, "cpu", given.query_images, given.support_images, masks)


@pytest.mark.parametrize("name", ["ssp", "hsnet", "patnet"])
def test_the_plain_form_stays_as_it_is(name: str) -> None:
    plain = fresh(name)
    before = tensors(plain)
    copied = plain.optimized_for("cpu")
    given = episodes(1, 1, side(name))
    copied.predict(*given.inputs)
    same_tensors(tensors(plain), before)
    # It reads the parameters when it is made, and not again.
    with torch.no_grad():
        kept = copied.logits(*given.inputs)
        for parameter in plain.parameters():
            parameter.mul_(1.5)
        assert torch.equal(copied.logits(*given.inputs), kept)
        assert not torch.allclose(plain.optimized_for("cpu").logits(*given.inputs), kept)


# -- the backbone ----------------------------------------------------------------------------------


def is_small(name: str) -> bool:
    """Whether it is the smallest of its kind: the others are the same code and take long."""
    larger = name.startswith("dino") and not name.endswith(("-s14", "-s16", "-s14-reg"))
    return "101" not in name and not larger


@pytest.mark.parametrize("name", [n for n in BACKBONES.names() if is_small(n)])
def test_a_folded_backbone_has_the_same_features(name: str) -> None:
    card = BACKBONES.card(name)
    torch.manual_seed(0)
    plain = build_backbone(name, until="semantic", output_stride=32).eval()
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.7, 1.3)
    images = normal(1, 3, 64, 64)
    with torch.no_grad():
        pairs = list(zip(plain.walk(images), folded(plain).walk(images), strict=True))
    assert pairs, card.name
    for expected, found in pairs:
        for left, right in zip(
            (*expected.taps, expected.output), (*found.taps, found.output), strict=True
        ):
            torch.testing.assert_close(right, left, rtol=1e-4, atol=1e-5 * float(left.abs().max()))


# -- the pyramid -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(7, 13, 25), (4, 8, 16), (13, 25, 50)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.4, 1.0])
def test_the_sparse_pyramid_is_the_dense_one(sides: tuple[int, ...], share: float) -> None:
    torch.manual_seed(3)
    taps = (2, 3, 2)
    learner = HPNLearner(taps, (4, 8, 16)).eval()
    size = 8 * sides[-1]
    mask = torch.zeros((1, size, size), dtype=torch.uint8)
    edge = round(size * share**0.5)
    mask[:, size - edge :, :edge] = 1
    dense: list[Tensor] = []
    sparse: list[Volume] = []
    for count, one in zip(taps, sides, strict=True):
        query = [normal(1, 8, one, one, seed=i) for i in range(count)]
        support = [normal(1, 8, one, one, seed=50 + i) for i in range(count)]
        soft = F.interpolate(mask[:, None].float(), (one, one), mode="bilinear", align_corners=True)
        dense.append(hypercorrelation(query, [s * soft for s in support]))
        spots = spotted(support, mask)
        maps = [
            product(rows, unit_rows(position_rows(q))).clamp(min=0)
            for rows, q in zip(spots.taps, query, strict=True)
        ]
        values = torch.stack(maps, dim=1).unflatten(2, (one, one))
        assert len(values) == int((soft > 0).sum())
        sparse.append(Volume(values, spots.row, spots.side))
    with torch.no_grad():
        expected, found = learner(dense), SparsePyramid(learner)(sparse)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height", [6, 25])
@pytest.mark.parametrize("left", [(1, 1), (1, 2), (2, 2), (2, 3), (3, 2)])
def test_mixing_is_the_squeeze_of_stride_one(left: tuple[int, int], height: int) -> None:
    torch.manual_seed(1)
    block = Squeeze((8, 8, 8, 8), (3, 3, 3), (1, 1, 1)).eval()
    x = normal(1, 8, height, 5, *left)
    side_by_side = x.permute(0, 4, 5, 1, 2, 3).flatten(1, 3)
    with torch.no_grad():
        expected = block(x).permute(0, 4, 5, 1, 2, 3).flatten(1, 3)
        maps = side_by_side.contiguous(memory_format=torch.channels_last)
        found = Mixing(block)(maps, left)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height", [6, 25])
@pytest.mark.parametrize("left", [(1, 1), (2, 2), (2, 3), (3, 2)])
def test_gradients_pass_through_mixing_as_through_the_squeeze(
    left: tuple[int, int], height: int
) -> None:
    torch.manual_seed(1)
    block = Squeeze((8, 8, 8, 8), (3, 3, 3), (1, 1, 1)).double().eval()
    x = normal(1, 8, height, 5, *left).double().requires_grad_()
    kept = block(x).permute(0, 4, 5, 1, 2, 3).flatten(1, 3)
    weights = normal(*kept.shape, seed=2).double()
    (expected,) = torch.autograd.grad((kept * weights).sum(), x)
    given = Part.of(x)
    (found,) = torch.autograd.grad((Mixing(block)(given.maps, given.side) * weights).sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("side", [(4, 4), (7, 8), (8, 3)])
def test_a_flat_squeeze_is_the_squeeze_and_so_are_its_gradients(side: tuple[int, int]) -> None:
    torch.manual_seed(1)
    block = Squeeze((3, 4, 8, 8), (3, 3, 3), (2, 2, 2)).double().eval()
    for norm in list(block)[1::3]:
        assert isinstance(norm, torch.nn.GroupNorm)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x = normal(2, 3, 5, 6, *side).double().requires_grad_()
    expected, found = flat(block(x)), FlatSqueeze(block, side)(flat(x))
    torch.testing.assert_close(found, expected)
    weights = normal(*expected.shape, seed=2).double()
    slopes = [torch.autograd.grad((part * weights).sum(), x)[0] for part in (expected, found)]
    torch.testing.assert_close(slopes[1], slopes[0])


# More than 8 x 8 positions of the coarse support leave more than one: one support after the other.
@pytest.mark.parametrize("pixels", [128, 288])
@pytest.mark.parametrize("name", ["hsnet+apm-m+acpa", "hsnet+finetune", "patnet+apm-s"])
def test_supports_learnt_from_together_are_predicted_as_each_alone(name: str, pixels: int) -> None:
    method = network(name).optimized_for("cpu")
    given = episodes(1, 2, pixels)
    masks = given.support_masks[0]
    with torch.no_grad():
        support = method.encode(given.support_images[0])
    with learning(method, method.learning_plugins):
        together = method.self_prediction(support, masks)()
        alone = [method.self_prediction(support[i : i + 1], masks[i : i + 1])() for i in range(2)]
    expected = torch.cat(alone)
    torch.testing.assert_close(
        together, expected, rtol=1e-5, atol=2e-5 * float(expected.detach().abs().max())
    )


@pytest.mark.parametrize("size", [(4, 3), (9, 8)])
@pytest.mark.parametrize("left", [(1, 1), (2, 2)])
def test_mixing_onto_known_maps_is_mixing(left: tuple[int, int], size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    block = Squeeze((8, 8, 8, 8), (3, 3, 3), (1, 1, 1)).double().eval()
    coarse = Part.of(normal(1, 8, *size, *left).double()).maps.requires_grad_()
    known = Part.of(normal(1, 8, 17, 9, *left, seed=3).double()).maps
    mixing = Mixing(block)
    enlarged = F.interpolate(coarse, (17, 9), mode="bilinear", align_corners=True)
    expected = mixing(enlarged + known, left)
    again = mixing.onto(known, left, size)
    weights = normal(*expected.shape, seed=2).double()
    (slope,) = torch.autograd.grad((expected * weights).sum(), coarse)
    for _ in range(2):
        found = again(coarse)
        torch.testing.assert_close(found, expected)
        (found_slope,) = torch.autograd.grad((found * weights).sum(), coarse)
        torch.testing.assert_close(found_slope, slope)


@pytest.mark.parametrize("name", ["hsnet", "patnet"])
def test_a_support_correlates_with_itself_as_with_another(name: str) -> None:
    method = as_a(FastHSNet, network(name).optimized_for("cuda"))
    given = episodes(1, 1, side(name))
    image, masks = given.support_images[0], given.support_masks[0]
    with torch.no_grad():
        features = method.features(image)
    for stage in method.stages:
        taps = [f"{stage}.{i}" for i in range(len(features.group(stage)))]
        slopes: list[tuple[Tensor, ...]] = []
        values: list[Tensor] = []
        for own in (True, False):
            live = {tap: features.tensors[tap].clone().requires_grad_() for tap in taps}
            rows = FeatureBatch(features.size, live)
            if own:
                value = method.correlation_with_itself(stage, rows, masks)
            else:
                state = cast("Sequence[FeatureBatch]", method.support_states(rows, masks))
                value = method.correlation(stage, rows, FeatureBatch.cat(state))
            weights = normal(*value.shape, seed=2)
            slopes.append(torch.autograd.grad((value * weights).sum(), list(live.values())))
            values.append(value)
        torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-6)
        for found, expected in zip(*slopes, strict=True):
            largest = float(expected.abs().max())
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * largest)


def test_a_support_that_is_dark_somewhere_correlates_with_itself() -> None:
    tap = normal(1, 6, 3, 3)
    tap[..., 0, 1] = 0
    tap.requires_grad_()
    masks = torch.zeros(1, 12, 12)
    masks[:, :7, :9] = 1
    found = self_correlation([tap], masks)
    expected = hypercorrelation([tap], [tap * resized_masks(masks, tap)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    slopes = [torch.autograd.grad(part.square().sum(), tap)[0] for part in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("height", [5, 26])
def test_a_gradient_goes_back_through_a_convolution_of_groups(height: int) -> None:
    maps = normal(1, 6, height, 4).double().requires_grad_()
    weight, weights = normal(4, 3, 3, 3, seed=1).double(), normal(1, 8, height, 4, seed=2).double()
    kernel = weight.repeat(2, 1, 1, 1)
    (expected,) = torch.autograd.grad(
        (F.conv2d(maps, kernel, padding=1, groups=2) * weights).sum(), maps
    )
    (found,) = torch.autograd.grad((Convolution3x3(weight, groups=2)(maps) * weights).sum(), maps)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("height", [5, 24])
def test_decoding_is_the_learners(height: int) -> None:
    torch.manual_seed(1)
    learner = HPNLearner([1, 1, 1], (4, 8, 8)).double().eval()
    maps = normal(2, 8, height, 6).double().requires_grad_()
    expected, found = learner.decode(maps), Decoder(learner)(maps)
    torch.testing.assert_close(found, expected)
    weights = normal(*expected.shape, seed=2).double()
    slopes = [torch.autograd.grad((part * weights).sum(), maps)[0] for part in (expected, found)]
    torch.testing.assert_close(slopes[1], slopes[0])
    with torch.no_grad():
        torch.testing.assert_close(Decoder(learner)(maps), expected)


def test_runs_cover_every_row_of_a_window_once() -> None:
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((40, 25)) < 0.5, rng.integers(0, 30, (40, 25)), -1)
    rows[0], rows[1] = np.arange(25), -1
    rows[2, 3:9] = np.arange(6)
    found = [
        (window, offset + i, row + i)
        for window, offset, row, length in runs(rows)
        for i in range(length)
    ]
    there = [(int(w), int(o), int(rows[w, o])) for w, o in zip(*np.nonzero(rows >= 0), strict=True)]
    assert sorted(found) == sorted(there)
    assert len([run for run in runs(rows) if run[0] == 0]) == 1
    assert max(length for window, _, _, length in runs(rows) if window == 2) == 6


def test_group_statistics_cover_what_is_not_stored() -> None:
    norm = torch.nn.GroupNorm(2, 6)
    with torch.no_grad():
        norm.weight.copy_(normal(6, seed=1))
        norm.bias.copy_(normal(6, seed=2))
        values, bias = normal(3, 6, 10, seed=3), normal(6, seed=4)
        scale, shift = group_affine(values, bias, norm, 5)
        whole = torch.cat((values, values.new_zeros(2, 6, 10))) + bias[:, None]
        expected = norm(whole.permute(1, 0, 2)[None]).squeeze(0).permute(1, 0, 2)
    torch.testing.assert_close(values * scale[:, None] + shift[:, None], expected[:3])
    torch.testing.assert_close(shift[:, None].expand(6, 10), expected[4])


@pytest.mark.parametrize("rows", [0, 1, 128, 300])
def test_a_product_of_rank_two_is_written_where_it_is_positive(rows: int) -> None:
    left, right = normal(rows, 2), normal(2, 7, seed=2)
    held = torch.full((rows, 3, 7), 9.0)
    fill_rank_two(held[:, 1], left, right)
    torch.testing.assert_close(held[:, 1], (left @ right).clamp(min=0))
    assert bool((held[:, ::2] == 9).all())


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_products_are_products(rows: int) -> None:
    a, b = normal(rows, 20, seed=1), normal(9, 20, seed=2)
    for left in (a, normal(20, rows, seed=1).t()):
        found = product(left, b)
        assert found.shape == (rows, 9)
        np.testing.assert_allclose(found.numpy(), (left.double() @ b.double().t()), atol=1e-5)
    learnt = b.clone().requires_grad_()
    product(normal(4, 20), learnt).sum().backward()
    assert learnt.grad is not None


@pytest.mark.parametrize("name", ["resnet-mini", "resnet50"])
def test_folded_blocks_give_the_same_with_and_without_a_graph(name: str) -> None:
    fast = folded(build_backbone(name))
    pixels = normal(1, 3, 48, 48)
    expected = [maps for stage in fast.walk(pixels) for maps in (*stage.taps, stage.output)]
    with torch.no_grad():
        found = [maps for stage in fast.walk(pixels) for maps in (*stage.taps, stage.output)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("taken", [True, False])
def test_large_products_are_products_whichever_kernel_is_chosen(
    *, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "onednn_is_taken", lambda: taken)
    a, b = normal(600, 400, seed=1), normal(300, 400, seed=2)
    monkeypatch.setattr(products, "_LARGE", a.numel() * len(b))
    expected = a.double() @ b.double().t()
    torch.testing.assert_close(product(a, b).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("onednn", "own", "taken"), [(1.0, 1.0, True), (1.2, 1.0, True), (1.4, 1.0, False)]
)
def test_torchs_own_product_is_taken_where_it_is_much_faster(
    onednn: float, own: float, *, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([*[onednn] * 5, *[own] * 5])
    monkeypatch.setattr(products, "_seconds", lambda _: next(times))
    products.onednn_is_taken.cache_clear()
    assert products.onednn_is_taken() is taken
    assert products.onednn_is_taken() is taken
    products.onednn_is_taken.cache_clear()


def test_choosing_a_kernel_counts_as_no_operation() -> None:
    products.onednn_is_taken.cache_clear()
    side = torch.ones(512, 512)
    assert flops_of(lambda: product(side, side))[0] == 2 * 512**3


def test_a_further_choice_costs_what_changed_and_is_the_same() -> None:
    features = torch.randn((1, 6, 5, 7), generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(5)
    chosen = torch.rand((1, 35), generator=draw) > 0.5
    with torch.no_grad():
        attention = Rounds(features).attention
        # A few columns change, none, most of them, and then all but one are gone.
        for share in (0.0, 0.1, 0.0, 0.2, 0.9, 0.1):
            chosen = chosen ^ (torch.rand((1, 35), generator=draw) < share)
            chosen[:, 3] = True
            expected = local_prototypes(features.flatten(2), chosen).reshape(features.shape)
            torch.testing.assert_close(attention(chosen), expected)
        chosen[:] = False
        chosen[:, 3] = True
        everywhere = features[:, :, :1, 3:4].expand_as(features)
        torch.testing.assert_close(attention(chosen), everywhere)


def test_scores_from_kept_unit_features_are_the_cosines() -> None:
    features = normal(1, 6, 5, 7).contiguous(memory_format=torch.channels_last)
    fore, everywhere = normal(1, 6, 1, 1, seed=1), normal(1, 6, 5, 7, seed=2)
    fore[0, :, 0, 0], everywhere[0, :, 2, 3] = fore[0, :, 0, 0] * 1e3, 0
    with torch.no_grad():
        found = Rounds(features)
        for back in (normal(1, 6, 1, 1, seed=3), everywhere):
            expected = cosine_scores(features, fore, back)
            torch.testing.assert_close(found.scored(fore, back), expected)


# -- projections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vit-mini", "sam-mini", "convnext-mini", "dinov3-s16"])
def test_projected_backbones_give_the_same_maps_from_the_same_tensors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        asked.append(len(b))
        return product(a, b, bias)

    monkeypatch.setattr(projections, "LARGE", 0)
    monkeypatch.setattr(projections, "product", counted)
    plain = build_backbone(name).eval().requires_grad_(requires_grad=False)
    plain.resize_to(64)
    form = projected(plain)
    images = normal(1, 3, 64, 64)
    with torch.no_grad():
        for expected, found in zip(plain(images), form(images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert asked
    assert not any(type(module) in {nn.Linear, MaskedLinear} for module in form.modules())
    own = {parameter.data_ptr() for parameter in plain.parameters()}
    assert {parameter.data_ptr() for parameter in form.parameters()} == own


def test_a_backbone_without_fully_connected_layers_stays_as_it_is() -> None:
    plain = build_backbone("resnet-mini")
    assert projected(plain) is plain
