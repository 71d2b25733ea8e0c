"""What the reconstruction of APSeg costs, counted and derived by hand."""

import pytest
import torch

from cdfss_bench.bench.cost.flops import operations_of
from cdfss_bench.bench.cost.profile import probe
from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.sam import PLANS, SAMPlan
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.hosts.apseg import APSeg

from .test_sam_totals import decoder, encoder

LEARNT, PROTOTYPE = 8, 1


def prototypes(plan: SAMPlan, side: int) -> int:
    """Two weighted sums of cells: by the support's masks, or of the query's cells alike."""
    return 2 * 2 * plan.channels * (side // plan.patch) ** 2


def selection(plan: SAMPlan, side: int) -> int:
    """A cosine of every support cell to every query cell."""
    return 2 * (side // plan.patch) ** 4 * plan.channels


def generator(plan: SAMPlan, side: int, *, shown: int = 1) -> int:
    """Two layers of three attentions, and the two convolutions of the dense prompt."""
    cells, width, tokens = (side // plan.patch) ** 2, plan.channels, LEARNT + PROTOTYPE
    layer = 0
    for keys in (shown * cells, tokens, cells):
        layer += 2 * 2 * (tokens + keys) * width**2 + 4 * tokens * keys * width
    return 2 * layer + 2 * 9 * cells * width * ((3 * width + 1) + width)


def transformation(plan: SAMPlan, side: int, *, shown: int = 1) -> int:
    """A basis of two prototypes; two coordinates of each cell, and back along two anchors."""
    cells, width = (side // plan.patch) ** 2, plan.channels
    gram, basis = 2 * 2 * 2 * width, 2 * 2 * 2 * width  # the inverse of 2x2 numbers counts nothing
    return gram + basis + 2 * 2 * 2 * width * cells * (1 + shown)


def prompted(plan: SAMPlan, side: int) -> int:
    """The decoder's call, and the codes of its cells, computed for it and for the generator."""
    positions = 2 * 2 * (plan.channels // 2) * (side // plan.patch) ** 2
    return decoder(plan, side, LEARNT + PROTOTYPE) + 2 * positions


def episode(plan: SAMPlan, side: int, shots: int = 1) -> int:
    """Everything but the encoder, of K shots that vote."""
    parts = (prototypes, prototypes, selection, generator, transformation, prompted)
    return shots * sum(part(plan, side) for part in parts)


def counted(shots: int, combine: str) -> int:
    net = seeded(build("apseg", backbone="sam-mini", combine=combine))
    query, supports, masks = probe(shots, 128, "cpu")
    with torch.no_grad():
        rows, shown = net.encode(query), net.encode(supports.flatten(0, 1))
        return operations_of(lambda: net.match(rows, shown, masks)).flops


@pytest.mark.parametrize("shots", [1, 3])
def test_an_episode_of_apseg(shots: int) -> None:
    assert counted(shots, "vote") == episode(PLANS["sam-mini"], 128, shots)


def test_prototypes_of_several_supports_need_one_decoding() -> None:
    plan, side, shots = PLANS["sam-mini"], 128, 3
    total = shots * (prototypes(plan, side) + selection(plan, side)) + prototypes(plan, side)
    total += transformation(plan, side, shown=shots) + generator(plan, side, shown=shots)
    assert counted(shots, "prototype_mean") == total + prompted(plan, side)


def test_tokens_of_several_supports_are_decoded_once() -> None:
    plan, side, shots = PLANS["sam-mini"], 128, 3
    one_call, codes = decoder(plan, side, LEARNT + PROTOTYPE), 2 * 2 * (plan.channels // 2) * 256
    apart = episode(plan, side, shots) - shots * one_call - (shots - 1) * codes
    together = decoder(plan, side, shots * (LEARNT + PROTOTYPE))
    assert counted(shots, "token_concat") == apart + together


def test_the_printed_figures_of_apseg() -> None:
    plan, side = PLANS["sam-vit-b"], 1024
    parts = [selection(plan, side), generator(plan, side), decoder(plan, side, LEARNT + PROTOTYPE)]
    assert [round(part / 1e9, 1) for part in parts] == [8.6, 23.8, 3.7]
    one, five = ((1 + shots) * encoder(plan, side) + episode(plan, side, shots) for shots in (1, 5))
    assert [round(flops / 1e9) for flops in (one, five)] == [1980, 6013]


def test_the_trained_parameters_of_apseg() -> None:
    with torch.device("meta"):
        net = build("apseg", backbone="sam-vit-b")
    assert isinstance(net, APSeg)
    width = 256
    attentions = 2 * 3 * (4 * width**2 + 3 * width + 2 * width)  # keys have no bias
    convolutions = 9 * width * (3 * width + 1 + width) + 2 * width
    assert sum(p.numel() for p in net.head()) == (2 + LEARNT) * width + attentions + convolutions
