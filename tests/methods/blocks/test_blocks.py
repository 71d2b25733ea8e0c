"""The building blocks against slow restatements of their published rules."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.errors import CompositionError
from cdfss_bench.methods.blocks.conv4d import CenterPivotConv4d, Squeeze, upsampled_query
from cdfss_bench.methods.blocks.correlation import directions, hypercorrelation
from cdfss_bench.methods.blocks.hpn import HPNLearner
from cdfss_bench.methods.blocks.prototypes import (
    cosine_scores,
    fore_and_background,
    masked_mean,
    resized_masks,
)
from cdfss_bench.methods.blocks.self_support import (
    BACK_THRESHOLD,
    FORE_THRESHOLD,
    confident,
    local_prototypes,
    self_support,
    weighted_by_likeness,
)
from cdfss_bench.methods.blocks.voting import foreground, upsampled, vote
from cdfss_bench.methods.fast.flat_conv4d import FlatCenterPivotConv4d

from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[np.float64]


def close(found: Tensor, expected: Array, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=atol)


# -- voting ----------------------------------------------------------------------------------------


def voted(masks: NDArray[np.int64]) -> NDArray[np.int64]:
    """HSNet's `predict_mask_nshot`, image by image: [B, K, H, W] -> [B, H, W]."""
    results: list[NDArray[np.int64]] = []
    for shots in masks:
        votes = shots.sum(axis=0)
        if len(shots) == 1:
            results.append(votes)
            continue
        most = max(1, int(votes.max()))
        chosen = np.zeros_like(votes)
        for y in range(votes.shape[0]):
            for x in range(votes.shape[1]):
                chosen[y, x] = 1 if float(votes[y, x]) / float(most) >= 0.5 else 0
        results.append(chosen)
    return np.stack(results)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_the_vote_is_hsnets_rule(shape: tuple[int, int, int, int], share: float, seed: int) -> None:
    masks = (np.random.default_rng(seed).random(shape) < share).astype(np.int64)
    found = vote(torch.from_numpy(masks).bool())
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), voted(masks))


@pytest.mark.parametrize(
    ("votes", "chosen"),
    [
        ([5, 3, 2, 0], [1, 1, 0, 0]),
        ([3, 2, 1, 0], [1, 1, 0, 0]),
        ([4, 2, 1, 0], [1, 1, 0, 0]),
        ([1, 1, 0, 0], [1, 1, 0, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_half_of_the_best_voted_pixels_votes_are_enough(
    votes: Sequence[int], chosen: Sequence[int]
) -> None:
    masks = torch.stack([torch.tensor([[count > shot for count in votes]]) for shot in range(5)])
    assert vote(masks[None]).flatten().tolist() == chosen


def test_the_best_voted_pixel_is_that_of_the_same_image() -> None:
    masks = torch.zeros(2, 5, 1, 2, dtype=torch.bool)
    masks[0, :, 0, 0] = True
    masks[0, 0, 0, 1] = True
    masks[1, 0, 0, 1] = True
    assert vote(masks).tolist() == [[[1, 0]], [[0, 1]]]


def test_one_shot_is_its_own_vote() -> None:
    mask = normal(2, 1, 5, 6) > 0
    assert torch.equal(vote(mask), mask[:, 0].to(torch.uint8))


def test_a_tie_is_background() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0]], [[0.0, 2.0, 1.0]]])
    assert foreground(logits).tolist() == [[False, True, False]]


@given(st.integers(0, 2**32 - 1))
def test_foreground_is_the_arg_max(seed: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).integers(-2, 3, (2, 3, 2, 4, 5)))
    assert torch.equal(foreground(logits), logits.argmax(2) == 1)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
def test_upsampling_is_bilinear_between_aligned_corners(lead: tuple[int, ...]) -> None:
    maps = normal(*lead, 2, 3, 4) if lead else normal(1, 2, 3, 4)
    found = upsampled(maps, (7, 10))
    assert found.shape == (*maps.shape[:-2], 7, 10)
    torch.testing.assert_close(found[..., ::3, ::3], maps)
    middle = (maps[..., 0, 0] + 2 * maps[..., 0, 1]) / 3
    torch.testing.assert_close(found[..., 0, 2], middle)


def test_upsampling_to_the_same_size_changes_nothing() -> None:
    maps = normal(2, 3, 2, 9, 11)
    assert torch.equal(upsampled(maps, (9, 11)), maps)


# -- prototypes ------------------------------------------------------------------------------------


def test_resized_masks_sample_the_grid_points_of_aligned_corners() -> None:
    mask = (normal(2, 9, 13) > 0).to(torch.uint8)
    found = resized_masks(mask, torch.empty(1, 1, 3, 4))
    assert found.dtype == torch.float32
    assert torch.equal(found[:, 0], mask[:, ::4, ::4].float())


def test_resized_masks_are_soft_between_grid_points() -> None:
    mask = torch.tensor([[[0, 1, 1, 1]]], dtype=torch.uint8).expand(1, 2, 4)
    found = resized_masks(mask, torch.empty(1, 1, 2, 3))
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.0, 1.0, 1.0]))
    found = resized_masks(mask, torch.empty(1, 1, 2, 7))
    torch.testing.assert_close(found[0, 0, 1], torch.tensor([0.0, 0.5, 1, 1, 1, 1, 1]))


def test_the_masked_mean_weighs_each_position_by_its_mask() -> None:
    features = normal(2, 3, 4, 5)
    mask = (normal(2, 4, 5, seed=1) > 0).to(torch.uint8)
    expected = np.stack(
        [
            features[i].numpy()[:, mask[i].numpy() == 1].sum(1) / (int(mask[i].sum()) + 1e-5)
            for i in range(2)
        ]
    )
    close(masked_mean(features, mask), expected)


def test_the_masked_mean_of_an_empty_mask_is_zero() -> None:
    found = masked_mean(normal(2, 3, 4, 5), torch.zeros(2, 16, 20))
    assert torch.equal(found, torch.zeros(2, 3))


def test_the_epsilon_of_the_masked_mean_may_be_another() -> None:
    features = torch.ones(1, 1, 2, 2)
    mask = torch.tensor([[[1, 0], [0, 0]]])
    assert float(masked_mean(features, mask)) == pytest.approx(1 / (1 + 1e-5), abs=1e-7)
    assert float(masked_mean(features, mask, eps=1.0)) == 0.5


def test_undecided_pixels_are_neither_foreground_nor_background() -> None:
    features = normal(1, 3, 2, 2)
    mask = torch.tensor([[[1, 0], [255, 1]]], dtype=torch.uint8)
    fore, back = fore_and_background(features, mask)
    wanted = features[0, :, [0, 1], [0, 1]].mean(1)
    torch.testing.assert_close(fore[0], wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(back[0], features[0, :, 0, 1], rtol=1e-4, atol=1e-5)


def test_channel_zero_of_the_scores_is_background() -> None:
    features = torch.zeros(1, 2, 1, 3)
    features[0, :, 0] = torch.tensor([[2.0, 0.0, 3.0], [0.0, 5.0, 4.0]])
    fore, back = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    found = cosine_scores(features, fore[None, :, None, None], back[None, :, None, None])
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.0, 10.0, 8.0]))
    torch.testing.assert_close(found[0, 1, 0], torch.tensor([10.0, 0.0, 6.0]))


def test_scores_take_one_prototype_per_position_and_any_scale() -> None:
    features, fore, back = (
        normal(2, 4, 3, 5),
        normal(2, 4, 3, 5, seed=1),
        normal(2, 4, 1, 1, seed=2),
    )
    found = cosine_scores(features, fore, back, scale=20)
    for y in range(3):
        for x in range(5):
            here = features[:, :, y, x]
            for channel, there in enumerate((back[:, :, 0, 0], fore[:, :, y, x])):
                cosine = (here * there).sum(1) / (here.norm(dim=1) * there.norm(dim=1))
                torch.testing.assert_close(found[:, channel, y, x], 20 * cosine)


def test_the_score_of_a_zero_prototype_is_zero() -> None:
    found = cosine_scores(normal(1, 4, 2, 2), torch.zeros(1, 4, 1, 1), normal(1, 4, 1, 1))
    assert torch.equal(found[:, 1], torch.zeros(1, 2, 2))


# -- self-support ----------------------------------------------------------------------------------


def supported(features: Array, logits: Array) -> tuple[Array, Array, Array]:
    """SSP_func for one episode, position by position: [C, h, w] and [2, h, w] in float64."""
    channels, height, width = features.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    raised = np.exp(logits - logits.max(axis=0))
    probability = raised / raised.sum(axis=0)

    def chosen(channel: int, threshold: float) -> list[tuple[int, int]]:
        sure = [p for p in places if probability[channel][p] > threshold]
        by_rank = sorted(places, key=lambda p: -float(probability[channel][p]))
        return sure or by_rank[:12]

    def at(place: tuple[int, int]) -> Array:
        return features[:, place[0], place[1]]

    fore_places, back_places = chosen(1, 0.7), chosen(0, 0.6)
    fore = np.mean([at(p) for p in fore_places], axis=0)
    back = np.mean([at(p) for p in back_places], axis=0)
    local = np.zeros((channels, height, width))
    for place in places:
        here = at(place) / np.linalg.norm(at(place))
        similar = [float(here @ (at(p) / np.linalg.norm(at(p)))) for p in back_places]
        weights = np.exp(2.0 * np.array(similar))
        weights /= weights.sum()
        local[:, place[0], place[1]] = sum(
            w * at(p) for w, p in zip(weights, back_places, strict=True)
        )
    return fore, back, local


SURE, UNSURE = 4.0, 0.05


def scene(sureness: Sequence[float], tilt: Sequence[float]) -> tuple[Tensor, Tensor]:
    features = normal(len(sureness), 6, 4, 5)
    logits = normal(len(sureness), 2, 4, 5, seed=1)
    logits = logits * torch.tensor(sureness)[:, None, None, None]
    logits[:, 1] += torch.tensor(tilt)[:, None, None]
    return features, logits


@pytest.mark.parametrize(
    ("sureness", "tilt"),
    [
        pytest.param([SURE], [0.0], id="thresholds"),
        pytest.param([UNSURE], [0.0], id="top 12 of both"),
        pytest.param([UNSURE], [3.0], id="all foreground, top 12 of the background"),
        pytest.param([UNSURE], [-3.0], id="all background, top 12 of the foreground"),
        pytest.param([SURE, UNSURE, SURE, 1.0], [0.0, 0.0, -4.0, 1.0], id="each its own"),
    ],
)
def test_self_support_is_the_published_rule(
    sureness: Sequence[float], tilt: Sequence[float]
) -> None:
    features, logits = scene(sureness, tilt)
    found = self_support(features, logits)
    for i in range(len(sureness)):
        fore, back, local = supported(features[i].double().numpy(), logits[i].double().numpy())
        close(found.fore[i, :, 0, 0], fore)
        close(found.back[i, :, 0, 0], back)
        close(found.local_back[i], local)


def test_the_scenes_of_self_support_reach_both_branches() -> None:
    taken: set[tuple[bool, bool]] = set()
    for sureness, tilt in (([SURE], [0.0]), ([UNSURE], [0.0]), ([UNSURE], [3.0])):
        _, logits = scene(sureness, tilt)
        probability = logits.flatten(2).softmax(1)[0]
        taken.add((bool((probability[1] > 0.7).any()), bool((probability[0] > 0.6).any())))
    assert taken == {(True, True), (False, False), (True, False)}


def test_the_thresholds_are_those_of_the_paper() -> None:
    assert (FORE_THRESHOLD, BACK_THRESHOLD) == (0.7, 0.6)


def test_confidence_is_strictly_above_the_threshold() -> None:
    probability = torch.full((1, 20), 0.5)
    probability[0, 3] = 0.75
    assert confident(probability, 0.75).sum() == 12
    assert confident(probability, 0.74).nonzero().tolist() == [[0, 3]]


def test_where_nothing_is_confident_the_twelve_most_probable_are_taken() -> None:
    probability = torch.rand((2, 30), generator=torch.Generator().manual_seed(0)) * 0.5
    found = confident(probability, 0.6)
    for row, chosen in zip(probability, found, strict=True):
        best = row.argsort(descending=True)[:12]
        assert chosen.nonzero().flatten().tolist() == best.sort().values.tolist()


def test_an_episodes_local_prototypes_do_not_depend_on_how_many_pixels_others_select() -> None:
    rows = normal(2, 5, 40)
    chosen = torch.zeros(2, 40, dtype=torch.bool)
    chosen[0, :13] = True
    chosen[1, 2:] = True
    together = local_prototypes(rows, chosen)
    for i in range(2):
        alone = local_prototypes(rows[i : i + 1], chosen[i : i + 1])
        torch.testing.assert_close(together[i], alone[0])


def test_an_accelerators_local_prototypes_are_the_cpus() -> None:
    rows = normal(2, 5, 40)
    rows[0, :, 20] = 0  # has no direction, and is not chosen
    chosen = torch.zeros(2, 40, dtype=torch.bool)
    chosen[0, :13] = True
    chosen[1, 2:] = True
    seen = rows.abs().sum(1, keepdim=True) > 0
    directions = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    found = weighted_by_likeness(rows, directions, directions, chosen)
    expected = local_prototypes(rows, chosen)
    torch.testing.assert_close(found.where(seen, 0), expected.where(seen, 0))


def test_one_chosen_position_is_everybodys_local_prototype() -> None:
    rows = normal(1, 5, 7)
    chosen = torch.zeros(1, 7, dtype=torch.bool)
    chosen[0, 4] = True
    torch.testing.assert_close(local_prototypes(rows, chosen), rows[:, :, 4:5].expand(-1, -1, 7))


def test_a_map_of_fewer_than_twelve_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 12 positions"):
        self_support(normal(1, 4, 3, 3), normal(1, 2, 3, 3))
    self_support(normal(1, 4, 3, 4), normal(1, 2, 3, 4))


# -- correlations ----------------------------------------------------------------------------------


def test_directions_are_divided_by_their_length_and_a_small_number() -> None:
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
    expected = torch.tensor([[[3 / 5.00001, 0.0], [4 / 5.00001, 0.0]]])
    torch.testing.assert_close(directions(features), expected)


def test_hypercorrelation_is_the_positive_cosine_of_every_pair_of_positions() -> None:
    query = [normal(2, 3, 2, 3), normal(2, 5, 2, 3, seed=1)]
    support = [normal(2, 3, 4, 2, seed=2), normal(2, 5, 4, 2, seed=3)]
    support[0][1, :, 0, 0] = 0
    found = hypercorrelation(query, support)
    assert found.shape == (2, 2, 2, 3, 4, 2)
    expected = np.zeros(found.shape)
    for index in np.ndindex(*found.shape):
        b, tap, yq, xq, ys, xs = index
        q = query[tap][b, :, yq, xq].double().numpy()
        s = support[tap][b, :, ys, xs].double().numpy()
        cosine = float(q @ s) / ((np.linalg.norm(q) + 1e-5) * (np.linalg.norm(s) + 1e-5))
        expected[index] = max(0.0, cosine)
    close(found, expected)
    assert float((found > 0).float().mean()) < 0.8


def test_taps_of_query_and_support_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        hypercorrelation([normal(1, 2, 2, 2)] * 2, [normal(1, 2, 2, 2)])


# -- 4D convolution --------------------------------------------------------------------------------


def convolved(module: CenterPivotConv4d, x: Array) -> Array:
    """The sum over both kernels, entry by entry: [C, hq, wq, hs, ws] -> [C', hq, wq, hs', ws']."""
    first, second = (
        (c.weight.detach().double().numpy(), c.bias.detach().double().numpy())
        for c in (module.conv1, module.conv2)
        if c.bias is not None
    )
    channels, hq, wq, hs, ws = x.shape
    stride = module.stride
    side = first[0].shape[-1]
    pad = side // 2
    out = len(first[0])
    result = np.zeros((out, hq, wq, -(-hs // stride), -(-ws // stride)))
    for index in np.ndindex(*result.shape):
        o, yq, xq, ys, xs = index
        total = first[1][o] + second[1][o]
        for c in range(channels):
            for dy in range(side):
                for dx in range(side):
                    y, z = yq + dy - pad, xq + dx - pad
                    if 0 <= y < hq and 0 <= z < wq:
                        total += first[0][o, c, dy, dx] * x[c, y, z, ys * stride, xs * stride]
                    y, z = ys * stride + dy - pad, xs * stride + dx - pad
                    if 0 <= y < hs and 0 <= z < ws:
                        total += second[0][o, c, dy, dx] * x[c, yq, xq, y, z]
        result[index] = total
    return result


@pytest.mark.parametrize(
    ("kernel", "stride", "shape"),
    [
        (3, 1, (2, 3, 2, 3)),
        (3, 2, (2, 3, 4, 5)),
        (3, 2, (3, 2, 1, 2)),
        (5, 4, (3, 2, 5, 4)),
        (1, 1, (2, 2, 2, 2)),
    ],
)
def test_the_4d_convolution_is_the_sum_over_the_kernels_through_its_centre(
    kernel: int, stride: int, shape: tuple[int, int, int, int]
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = CenterPivotConv4d(2, 3, kernel, stride)
    x = normal(2, 2, *shape)
    found = module(x)
    for i in range(2):
        close(found[i], convolved(module, x[i].double().numpy()))
    module.__class__ = FlatCenterPivotConv4d
    with torch.no_grad():
        torch.testing.assert_close(module(x), found, rtol=1e-5, atol=1e-5)


def test_one_4d_convolution_serves_several_sizes() -> None:
    module = CenterPivotConv4d(1, 1, 3, 2)
    small, large = normal(1, 1, 2, 2, 3, 3), normal(1, 1, 4, 3, 6, 5, seed=1)
    before = module(small)
    assert module(large).shape == (1, 1, 4, 3, 3, 3)
    assert torch.equal(module(small), before)


@pytest.mark.parametrize("side", [1, 2])
def test_a_map_smaller_than_its_stride_has_a_gradient_in_mixed_precision(side: int) -> None:
    module = CenterPivotConv4d(16, 32, 3, side + 1)
    x = torch.rand(2, 16, 8, 8, side, side, generator=torch.Generator().manual_seed(0))
    found: dict[bool, Tensor] = {}
    for mixed in (False, True):
        # What torch hands out next holds NaN wherever nobody writes.
        freed = [torch.full((10**power,), torch.nan) for power in range(2, 7)]
        del freed
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            out = module(x)
        out.float().square().sum().backward()
        assert module.conv2.weight.grad is not None
        found[mixed] = module.conv2.weight.grad.clone()
    largest = float(found[False].abs().max())
    torch.testing.assert_close(found[True], found[False], rtol=0, atol=0.03 * largest)


def test_a_squeeze_has_hsnets_keys() -> None:
    keys = {f"{i}.conv{n}.{p}" for i in (0, 3, 6) for n in (1, 2) for p in ("weight", "bias")}
    keys |= {f"{i}.{p}" for i in (1, 4, 7) for p in ("weight", "bias")}
    state = Squeeze((3, 16, 64, 128), (3, 5, 3), (2, 4, 2)).state_dict()
    assert set(state) == keys
    assert state["0.conv1.weight"].shape == (16, 3, 3, 3)
    assert state["3.conv2.weight"].shape == (64, 16, 5, 5)
    assert state["7.weight"].shape == (128,)


def test_a_squeeze_keeps_the_query_and_shrinks_the_support() -> None:
    squeeze = Squeeze((2, 4, 4, 8), (3, 3, 3), (2, 2, 2))
    with torch.no_grad():
        found = squeeze(normal(1, 2, 3, 4, 9, 8))
    assert found.shape == (1, 8, 3, 4, 2, 1)
    assert float(found.min()) >= 0


def test_upsampling_the_query_interpolates_its_dimensions_only() -> None:
    x = normal(2, 3, 2, 3, 2, 4)
    found = upsampled_query(x, (5, 7))
    assert found.shape == (2, 3, 5, 7, 2, 4)
    for ys in range(2):
        for xs in range(4):
            expected = F.interpolate(x[..., ys, xs], (5, 7), mode="bilinear", align_corners=True)
            torch.testing.assert_close(found[..., ys, xs], expected)


# -- the pyramid -----------------------------------------------------------------------------------


def pyramid(coarse: int, middle: int, fine: int) -> list[Tensor]:
    sizes = {3: coarse, 6: middle, 4: fine}
    return [normal(1, taps, side, side, side, side) for taps, side in sizes.items()]


def test_the_learner_doubles_the_fine_query_map() -> None:
    learner = HPNLearner((3, 6, 4), (4, 4, 8))
    with torch.no_grad():
        assert learner(pyramid(2, 4, 8)).shape == (1, 2, 16, 16)


def test_the_learner_refuses_a_pyramid_whose_support_sizes_disagree() -> None:
    learner = HPNLearner((3, 6, 4), (4, 4, 8))
    with pytest.raises(CompositionError) as caught, torch.no_grad():
        learner(pyramid(9, 8, 16))
    assert caught.value.problem == (
        "the hypercorrelation pyramid ends in different support sizes [(1, 1), (2, 2)] "
        "at this image size"
    )
    assert caught.value.hint == "use 128, 200, 256, 400 or 473 pixels"


@pytest.mark.parametrize("side", [128, 200, 256, 400, 473])
def test_the_sizes_that_the_refusal_recommends_are_accepted(side: int) -> None:
    with torch.device("meta"):
        learner = HPNLearner((3, 6, 4))
        sides = [-(-side // stride) for stride in (32, 16, 8)]
        sizes = zip((3, 6, 4), sides, strict=True)
        correlations = [torch.empty(1, taps, n, n, n, n) for taps, n in sizes]
        assert learner(correlations).shape == (1, 2, 2 * sides[2], 2 * sides[2])


def test_the_learner_has_hsnets_keys() -> None:
    squeeze = {f"{i}.conv{n}" for i in (0, 3, 6) for n in (1, 2)} | {str(i) for i in (1, 4, 7)}
    blocks = [f"encoder_layer{n}" for n in ("4", "3", "2", "4to3", "3to2")]
    modules = {f"{block}.{key}" for block in blocks for key in squeeze}
    modules |= {f"decoder{n}.{i}" for n in (1, 2) for i in (0, 2)}
    keys = {f"{module}.{p}" for module in modules for p in ("weight", "bias")}
    with torch.device("meta"):
        assert set(HPNLearner((3, 6, 4)).state_dict()) == keys


@pytest.mark.parametrize(
    ("taps", "count"), [((3, 6, 4), 2_573_794), ((3, 23, 4), 2_587_394), ((1, 3, 3), 2_570_018)]
)
def test_the_learner_has_as_many_parameters_as_published(
    taps: tuple[int, int, int], count: int
) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in HPNLearner(taps).parameters()) == count
