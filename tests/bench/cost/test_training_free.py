"""FSSDINO and RSRM against totals derived by hand, on tokens whose k-means needs known rounds."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.cost.flops import operations_of
from cdfss_bench.bench.cost.profile import cost_of
from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.kmeans import ROUNDS_PER_WAIT
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method

from ...support.hand_counts import transformer

SIDE, WIDTH = 8, 96
TOKENS = SIDE**2


def repeated(kinds: int, count: int, seed: int) -> Tensor:
    """Tokens [count, C] of so many kinds, far from each other, each more than once."""
    rng = torch.Generator().manual_seed(seed)
    return 5 * torch.randn((kinds, WIDTH), generator=rng)[torch.arange(count) % kinds]


def scene(fore_kinds: int, back_kinds: int) -> tuple[Tensor, Tensor]:
    """A map [C, h, w] whose left half is object, and its mask [H, W]."""
    half = TOKENS // 2
    tokens = torch.cat((repeated(fore_kinds, half, 0), repeated(back_kinds, half, 1)))
    maps = tokens.unflatten(0, (SIDE, SIDE)).permute(2, 1, 0)
    mask = torch.zeros(16 * SIDE, 16 * SIDE)
    mask[:, : 8 * SIDE] = 1
    return maps.contiguous(), mask


def host(name: str) -> Method:
    return seeded(build(name, backbone="vit-mini"))


@pytest.mark.parametrize("shots", [1, 3])
def test_fssdino_matches_with_clusters_and_gram_matrices(shots: int) -> None:
    net = host("fssdino")
    maps, mask = scene(5, 5)
    size = (16 * SIDE, 16 * SIDE)
    rows = FeatureBatch(size, {"tokens": maps[None]})
    with torch.no_grad():
        states = list(net.encode_support(rows, mask[None])) * shots
        match = operations_of(lambda: net.match_states(rows, states, shots=shots)).flops
    own = shots * TOKENS // 2  # tokens of either class
    # Products with the centres, and the means; the first question comes after several rounds.
    clusters = ROUNDS_PER_WAIT * (2 * own * 5 * WIDTH + 2 * 5 * own * WIDTH)
    cosines = 2 * 5 * WIDTH * TOKENS
    gram = 2 * own * WIDTH**2 + 2 * WIDTH**2 * TOKENS
    assert match == 2 * (clusters + cosines + gram)


@pytest.mark.parametrize("shots", [1, 3])
def test_rsrm_matches_with_the_query_and_at_three_scales(shots: int) -> None:
    net = host("rsrm")
    maps, mask = scene(9, 18)
    size = (16 * SIDE, 16 * SIDE)
    rows = FeatureBatch(size, {"A": maps.repeat(1, 6, 1, 1, 1), "variance": torch.ones(1, WIDTH)})
    with torch.no_grad():
        states = list(net.encode_support(rows, mask[None])) * shots
        match = operations_of(lambda: net.match_states(rows, states, shots=shots)).flops
    enhanced = 2 * 2 * TOKENS**2 * WIDTH
    half, centres = TOKENS // 2, 9 + 18
    # Products with the centres, and the means; the first question comes after several rounds.
    clusters = ROUNDS_PER_WAIT * 2 * 2 * half * centres * WIDTH
    cosines = 2 * TOKENS * WIDTH * (2 + centres + TOKENS)
    assert match == shots * (enhanced + clusters + cosines)


@pytest.mark.parametrize("name", ["fssdino", "rsrm"])
def test_an_episode_encodes_each_image_once(name: str) -> None:
    cost = cost_of(host(name), shots=2, size=128, device="cpu")
    assert cost.flops_encode == transformer(WIDTH, 6, TOKENS)
    assert cost.flops_episode == 3 * cost.flops_encode + cost.flops_match
    assert cost.flops_adapt == 0
