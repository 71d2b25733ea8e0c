"""What is counted: attention as on every device, and the published totals by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cdfss_bench.bench.cost.profile import cost_of, flops_of
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.registry.build import build


def test_attention_is_counted_on_a_cpu() -> None:
    query, key = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 11, 8)
    value = torch.randn(2, 3, 11, 8)
    with torch.no_grad():
        counted, missed = flops_of(lambda: F.scaled_dot_product_attention(query, key, value))
    # 2 per multiply-add; every query meets every key, then every value.
    assert counted == 2 * (2 * 3) * (7 * 11 * 8) * 2
    assert missed == frozenset()


@pytest.mark.parametrize("size", [96, 400])
def test_a_vit_b16_costs_what_its_formula_says(size: int) -> None:
    with torch.device("meta"):
        net = build_backbone("vit-b16")
    net = net.to_empty(device="cpu").eval()
    for parameter in net.parameters():
        parameter.data.zero_()
    patches = (size // 16) ** 2
    tokens, width = patches + 1, 768
    # qkv, projection and two MLP layers: 12 width^2 multiply-adds a token; attention twice T^2.
    block = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
    embedding = 2 * patches * width * 3 * 16 * 16
    with torch.no_grad():
        counted, missed = flops_of(lambda: list(net.walk(torch.zeros(1, 3, size, size))))
    assert counted == embedding + 10 * block
    assert missed == {"native_layer_norm", "upsample_bicubic2d"}
    if size == 400:
        assert counted == 101_390_868_480


def test_the_printed_figures_of_a_vit_b16() -> None:
    def encoder(side: int, prompts: int = 0) -> float:
        patches = side**2
        tokens = patches + 1 + prompts
        block = 2 * tokens * 12 * 768**2 + 4 * tokens**2 * 768
        return round((2 * patches * 768 * 768 + 10 * block) / 1e9, 1)

    assert [encoder(25), encoder(30), encoder(30, prompts=72)] == [101.4, 153.5, 167.9]


def test_an_episode_of_fptrans_has_its_supports_seen_with_its_query() -> None:
    net = build("fptrans", backbone="vit-mini", hidden=48)
    cost = cost_of(net, shots=1, size=64, device="cpu")
    patches, width = 16, 96

    def encoder(tokens: int) -> int:
        block = 2 * tokens * 12 * width**2 + 4 * tokens**2 * width
        return 2 * patches * width * 3 * 16 * 16 + 6 * block

    # One frozen pass of the support, then both images with 72 prompts.
    passes = encoder(patches + 1) + 2 * encoder(patches + 1 + 72)
    assert cost.flops_encode == 0
    purifier = 2 * 2 * patches * (width * 48 + 4 * 48 * 48 + 4 * 48 * width)
    heads = cost.flops_match - passes - purifier
    # Means over regions and cosines to six proxies: little beside the rest.
    assert 0 < heads < 0.01 * passes
