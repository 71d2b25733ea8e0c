"""What SAM's parts and PerSAM cost, counted and derived by hand."""

import pytest
import torch

from cdfss_bench.bench.cost.flops import operations_of
from cdfss_bench.bench.cost.profile import probe
from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.sam import PLANS, SAM, SAMPlan
from cdfss_bench.methods.blocks.sam_calls import PromptedImage
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.persam import PerSAM

OWN_TOKENS = 5
"""One for the predicted IoU and four for the masks."""


def encoder(plan: SAMPlan, side: int) -> int:
    """Every block's products with tokens, with each other, and with relative positions."""
    grid, width = side // plan.patch, plan.width
    total = 2 * grid**2 * 3 * plan.patch**2 * width
    for block in range(plan.depth):
        window = grid if block in plan.global_blocks else plan.window
        count = (-(-grid // window)) ** 2
        tokens = count * window**2
        total += 2 * tokens * 4 * width**2
        total += count * 4 * window**4 * width + 2 * 2 * tokens * window * width
        total += 2 * grid**2 * 8 * width**2
    return total + 2 * grid**2 * plan.channels * (width + 9 * plan.channels)


def decoder(plan: SAMPlan, side: int, sparse: int) -> int:
    """Both layers, the last attention, the enlargement, and the networks of the tokens."""
    cells, width, inner = (side // plan.patch) ** 2, plan.channels, plan.channels // 2
    tokens = OWN_TOKENS + sparse
    alone = 4 * 2 * tokens * width**2 + 4 * tokens**2 * width
    across = 2 * 2 * (tokens + cells) * width * inner + 4 * tokens * cells * inner
    mlp = 2 * 2 * tokens * width * plan.decoder_hidden
    quarter, eighth = width // 4, width // 8
    enlarging = 2 * 4 * cells * width * quarter + 2 * 16 * cells * quarter * eighth
    networks = 4 * (2 * 2 * width**2 + 2 * width * eighth) + 2 * 2 * width**2 + 2 * width * 4
    masks = 2 * 4 * eighth * 16 * cells
    return 2 * (alone + 2 * across + mlp) + across + enlarging + networks + masks


def prompts(plan: SAMPlan, side: int, codes: int, *, mask: bool) -> int:
    """Codes of points, corners and cells; the reduction of a mask prompt."""
    cells, width = (side // plan.patch) ** 2, plan.channels
    positions = 2 * 2 * (width // 2) * (cells + codes)
    reduction = 2 * cells * (4 * 4 * 4 + 4 * 4 * 16 + 16 * width)
    return positions + (reduction if mask else 0)


@pytest.mark.parametrize("side", [400, 512, 640, 1024])
def test_an_image_of_sam_vit_b(side: int) -> None:
    plan = PLANS["sam-vit-b"]
    with torch.no_grad(), torch.device("meta"):
        network = SAM(plan)
        found = operations_of(lambda: network.embedding(torch.empty(1, 3, side, side)))
    assert found.flops == encoder(plan, side)


def test_the_printed_figures_of_sam_vit_b() -> None:
    plan = PLANS["sam-vit-b"]
    images = [round(encoder(plan, side) / 1e9, 1) for side in (1024, 640, 512, 400)]
    assert images == [972.1, 323.7, 227.1, 122.9]
    calls = [round(decoder(plan, 1024, sparse) / 1e9, 2) for sparse in (2, 7, 50)]
    assert calls == [3.62, 3.7, 4.42]
    steps = ((3, 3, False), (3, 3, True), (4, 4, True))
    persam = sum(
        decoder(plan, 1024, sparse) + prompts(plan, 1024, codes, mask=mask)
        for sparse, codes, mask in steps
    )
    assert round(persam / 1e9, 1) == 11.0


def test_the_parameters_of_sam_vit_b() -> None:
    with torch.device("meta"):
        network = SAM(PLANS["sam-vit-b"])
    parts = (network.image_encoder, network.prompt_encoder, network.mask_decoder)
    counts = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert counts == [89_670_912, 6_220, 4_058_340]
    # And one buffer, the matrix of the positional encoding.
    assert len(network.state_dict()) == 314


@pytest.mark.parametrize("finetune", [False, True])
def test_an_episode_of_persam(finetune: bool) -> None:
    plan, side = PLANS["sam-mini"], 128
    net = seeded(build("persam", backbone="sam-mini", finetune=finetune))
    assert isinstance(net, PerSAM)
    query, supports, masks = probe(1, side, "cpu")
    with torch.no_grad():
        assert operations_of(lambda: net.encode(query)).flops == encoder(plan, side)
        rows, shown = net.encode(query), net.encode(supports[0])
        (state,) = net.encode_support(shown, masks[0])
        assert isinstance(state, FeatureBatch)
        target = state.tensors["peak" if finetune else "mean"][0]
        sam = net.backbone
        image = PromptedImage(
            sam.prompt_encoder, sam.mask_decoder, rows.tensors["neck"][0], net.frame(rows.size)
        )
        answers = net.answers(image, target)
        match = operations_of(lambda: net.match(rows, shown, masks)).flops
    points = 1 if finetune else 2
    total = 2 * plan.channels * (side // plan.patch) ** 2  # cosines
    if finetune:
        total += sum(2 * 3 * maps.numel() // 3 for maps in (answers[0].low, answers[0].high))
    for number, answer in enumerate(answers):
        tokens = points + (1 if answer.box is None else 2)
        total += decoder(plan, side, tokens) + prompts(plan, side, tokens, mask=number > 0)
    assert match == total
