"""The counter against hand-derived totals of HERA, whose work depends on the probe."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.cost.flops import operations_of
from cdfss_bench.bench.cost.profile import cost_of, probe
from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.layer_choice import mix_weights, mixed
from cdfss_bench.methods.blocks.prototypes import fore_and_background
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.leave_one_out import support_views
from cdfss_bench.methods.hosts.hera import HERA
from cdfss_bench.methods.hosts.ssp import SSP

from ...support.contract import as_a
from ...support.hand_counts import product
from .test_totals import chosen

WIDTH, BLOCKS, PATCHES, TOKENS = 96, 6, 64, 65
"""Of vit-mini on 128 pixels: one special token beside the patches."""


MIXING = 2 * product(TOKENS, WIDTH, TOKENS)
PROJECTIONS = product(TOKENS, WIDTH, 3 * WIDTH) + product(TOKENS, WIDTH, WIDTH)
MLP = 2 * product(TOKENS, WIDTH, 4 * WIDTH)
IMAGE = product(PATCHES, 3 * 16**2, WIDTH) + BLOCKS * (PROJECTIONS + MIXING + MLP)
ENTROPIES = 2 * product(PATCHES, WIDTH, PATCHES)
"""Queries and keys of the patches among the keys of the patches; there are no registers."""
READING = PROJECTIONS + MIXING + ENTROPIES + MLP
"""The last block once more, its attention pulled."""
SPREAD = product(PATCHES, PATCHES, 1)


def hera(**options: str | bool) -> HERA:
    return as_a(HERA, seeded(build("hera", backbone="vit-mini", **options)).eval())


def one_round() -> SSP:
    """Whose work HERA's matching does."""
    return as_a(SSP, build("ssp", backbone="resnet-mini", refine=False))


@pytest.mark.parametrize("shots", [1, 5])
def test_the_record_of_the_mini_suites_hera(shots: int) -> None:
    method = hera()
    cost = cost_of(method, shots=shots, size=128, device="cpu")
    query, supports, masks = probe(shots, 128, "cpu")
    with torch.no_grad():
        states = method.encode_support(method.encode(supports[0]), masks[0])
        fore, back = method.averaged(states, shots=shots)
        features, _ = method.read(method.encode(query))
        matched = chosen(one_round(), features, fore, back).plain
    assert cost.flops_encode == IMAGE
    assert cost.flops_support == IMAGE + READING
    assert cost.flops_query == IMAGE + READING + matched + SPREAD
    assert cost.flops_episode == cost.flops_adapt + (
        (1 + shots) * (IMAGE + READING) + matched + SPREAD
    )


@torch.no_grad()
@pytest.mark.parametrize("shots", [1, 3])
def test_choosing_layers_asks_each_view_once_on_each_candidate(shots: int) -> None:
    method = hera(fit=False)
    _, supports, masks = probe(shots, 128, "cpu")
    supports = supports + 0.1 * torch.arange(shots)[None, :, None, None, None]
    support, truth = method.encode(supports[0]), masks[0]
    found = operations_of(lambda: method.adapt_encoded(support, truth)).flops
    views, seen = support_views(method, support, truth)
    choice = method.chosen(views, seen)
    candidates = [method.plain(views, block) for block in method.candidates]
    scores = torch.tensor(choice.singles)
    tried = [*candidates]
    for layers in dict.fromkeys(layers for layers, _ in choice.mixes):
        weights = mix_weights(scores[list(layers)], layers).tolist()
        tried.append(mixed([candidates[layer] for layer in layers], weights))
    distinct = range(2 if shots == 1 else shots)  # the two copies of a single support are equal
    work = sum(asked(maps, seen, view) for maps in tried for view in distinct)
    assert found == work + (IMAGE if shots == 1 else 0)


def asked(maps: Tensor, masks: Tensor, view: int) -> int:
    """Operations of one view predicted from the others."""
    fore, back = fore_and_background(maps, masks)
    others = [index for index in range(len(maps)) if index != view]
    shown = [each[others].mean(0, keepdim=True) for each in (fore, back)]
    return chosen(one_round(), maps[view : view + 1], shown[0], shown[1]).plain


def test_fitting_and_pac_on_supports_add_to_the_adaptation() -> None:
    plain, fitted, voted = (
        cost_of(hera(fit=fit, pac=pac), shots=2, size=128, device="cpu").flops_adapt
        for fit, pac in ((False, "always"), (True, "always"), (True, "auto"))
    )
    assert 0 < plain < fitted < voted
