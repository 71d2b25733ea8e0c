"""What is counted: attention as on every device, and the published totals by hand."""

import pytest
import torch
import torch.nn.functional as F

from cdfss_bench.bench.cost.profile import cost_of, flops_of
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.registry.build import build

from ...support.hand_counts import transformer


def test_attention_is_counted_on_a_cpu() -> None:
    query, key = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 11, 8)
    value = torch.randn(2, 3, 11, 8)
    with torch.no_grad():
        counted, missed = flops_of(lambda: F.scaled_dot_product_attention(query, key, value))
    # 2 per multiply-add; every query meets every key, then every value.
    assert counted == 2 * (2 * 3) * (7 * 11 * 8) * 2
    assert missed == frozenset()


def test_a_product_that_is_added_in_place_counts_as_any_other() -> None:
    onto, left, right = torch.zeros(3, 5), torch.randn(3, 7), torch.randn(7, 5)
    assert flops_of(lambda: onto.addmm_(left, right)) == (2 * 3 * 7 * 5, frozenset())
    assert flops_of(lambda: torch.addmm(onto, left, right)) == (2 * 3 * 7 * 5, frozenset())


@pytest.mark.parametrize(
    ("name", "size", "patches", "special"),
    [
        ("vit-b16", 96, 6 * 6, 1),
        ("vit-b16", 400, 25 * 25, 1),
        # 100 px are seen as 112 by patches of 14, and as 96 by patches of 16.
        ("dinov2-s14", 100, 8 * 8, 1),
        ("dinov2-s14-reg", 112, 8 * 8, 5),
        ("dinov3-s16", 100, 6 * 6, 5),
    ],
)
def test_a_transformer_costs_what_its_formula_says(
    name: str, size: int, patches: int, special: int
) -> None:
    with torch.device("meta"):
        net = build_backbone(name)
    net = net.to_empty(device="cpu").eval()
    for tensor in net.state_dict().values():
        tensor.fill_(1)
    with torch.no_grad():
        counted, missed = flops_of(lambda: list(net.walk(torch.zeros(1, 3, size, size))))
    width, depth = (768, 10) if name == "vit-b16" else (384, 12)
    assert counted == transformer(
        width, depth, patches, 14 if "v2" in name else 16, special=special
    )
    if name == "vit-b16":
        assert missed == {"native_layer_norm", "upsample_bicubic2d"}


def test_the_cost_of_a_prototype_on_dino_is_its_backbone_twice() -> None:
    net = build("prototype", backbone="dinov3-s16")
    cost = cost_of(net, shots=1, size=64, device="cpu")
    assert cost.flops_encode == transformer(384, 12, 16, special=5)
    assert 0 <= cost.flops_episode - 2 * cost.flops_encode < 0.001 * cost.flops_encode


def test_the_figures_of_dino_at_400_pixels() -> None:
    def billions(width: int, depth: int, side: int, patch: int, special: int) -> float:
        return round(transformer(width, depth, side**2, patch, special=special) / 1e9, 1)

    assert billions(1024, 24, 25, 16, 5) == 420.5
    assert billions(384, 12, 29, 14, 1) == 49.2


def test_the_printed_figures_of_a_vit_b16() -> None:
    def encoder(side: int, prompts: int = 0) -> float:
        return round(transformer(768, 10, side**2, special=1 + prompts) / 1e9, 1)

    assert transformer(768, 10, 25**2) == 101_390_868_480
    assert [encoder(25), encoder(30), encoder(30, prompts=72)] == [101.4, 153.5, 167.9]


def test_an_episode_of_fptrans_has_its_supports_seen_with_its_query() -> None:
    net = build("fptrans", backbone="vit-mini", hidden=48)
    cost = cost_of(net, shots=1, size=64, device="cpu")
    patches, width = 16, 96

    # One frozen pass of the support, then both images with 72 prompts.
    passes = transformer(width, 6, patches) + 2 * transformer(width, 6, patches, special=1 + 72)
    assert cost.flops_encode == 0
    purifier = 2 * 2 * patches * (width * 48 + 4 * 48 * 48 + 4 * 48 * width)
    heads = cost.flops_match - passes - purifier
    # Means over regions and cosines to six proxies: little beside the rest.
    assert 0 < heads < 0.01 * passes
