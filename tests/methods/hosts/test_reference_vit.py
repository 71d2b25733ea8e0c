"""The vision transformer and its two hosts against vectors of the published implementations."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.backbones.vit import ViT
from cdfss_bench.methods.blocks.prototypes import cosine_scores, nearest_masks
from cdfss_bench.methods.blocks.proxies import proxy_scores
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.hosts.fptrans import FPTrans
from cdfss_bench.methods.hosts.ssp import with_own_prototypes
from cdfss_bench.methods.hosts.ssp_vit import SSPViT

from ...support.contract import Episodes, as_a
from ...support.draws import regrid

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

SIDE = 128
EPISODES = {1: 2, 5: 1}
"""Episodes per batch, by shots."""


class Stored:
    """One .npz of `vit.json`, compared at the tolerances that it states."""

    def __init__(self, path: Path):
        self.arrays: Mapping[str, NDArray[Any]] = np.load(path)

    def check(self, name: str, got: Tensor) -> None:
        expected = self.arrays[name]
        assert got.shape == expected.shape, name
        atol = 2e-4 if name == "block10" else 1e-4
        np.testing.assert_allclose(
            got.detach().numpy(), expected, rtol=1e-4, atol=atol, err_msg=name
        )


Open = Callable[[str], Stored]


@pytest.fixture(scope="module")
def stored(shared: Path) -> Open:
    return lambda name: Stored(shared / "reference" / f"vit_{name}.npz")


def pictures(fill: ModuleType, prefix: str, shots: int) -> Episodes:
    """The episodes that `vit_image` describes."""
    count = EPISODES[shots]

    def array(name: str, *shape: int, kind: str = "normal") -> Tensor:
        return torch.from_numpy(fill.array(prefix + name, shape, kind=kind))

    query = array("query", count, 3, SIDE, SIDE)
    support = array("support", count, shots, 3, SIDE, SIDE)
    query_masks = array("query_mask", count, SIDE, SIDE, kind="mask")
    support_masks = array("support_mask", count, shots, SIDE, SIDE, kind="mask")
    tone = array("tone", 3, 1, 1)
    tone = tone / tone.square().mean().sqrt()
    gain = torch.tensor([3.0, 0.0][:count])[:, None, None, None]
    return Episodes(
        query + gain * tone * query_masks[:, None],
        query_masks,
        support + gain[:, None] * tone * support_masks[:, :, None],
        support_masks,
    )


def unfilled(name: str) -> Method:
    """The method with memory for its parameters and no values: drawing 140 million takes long."""
    with torch.device("meta"):
        net = build(name)
    return net.to_empty(device="cpu")


def test_blocks(stored: Open, fill: ModuleType) -> None:
    reference = stored("blocks")
    net = as_a(ViT, build_backbone("vit-b16"))
    regrid(net, 6)
    fill.fill(net)
    image = torch.from_numpy(fill.array("vit.image", (1, 3, 96, 96)))
    with torch.no_grad():
        first, *maps = net.walk(image)
        reference.check("patch_embed", first.output.flatten(2).transpose(1, 2))
        tokens = net.tokens(first.output)
        for number, block in enumerate(net.blocks, start=1):
            tokens = block(tokens)
            if number in (2, 10):
                reference.check(f"block{number}", tokens)
            if number < 10:
                assert torch.equal(maps[number - 1].output, net.placed(tokens, (6, 6)))
    reference.check("map", maps[-1].output)
    assert set(reference.arrays) == {"patch_embed", "block2", "block10", "map"}


@pytest.fixture(scope="module")
def ssp_vit(fill: ModuleType) -> SSPViT:
    net = as_a(SSPViT, unfilled("ssp-vit[dropout=0]"))
    assert isinstance(net.backbone, ViT)
    regrid(net.backbone, SIDE // 16)
    return fill.fill(net)


@pytest.mark.parametrize("shots", [1, 5])
def test_ssp_head(shots: int, stored: Open, fill: ModuleType, ssp_vit: SSPViT) -> None:
    reference = stored("ssp")
    net = ssp_vit
    given = pictures(fill, f"vitssp{shots}.", shots)
    with torch.no_grad():
        logits = net.logits(given.query_images, given.support_images, given.support_masks)
        reference.check(f"shot{shots}_logits", logits[:, 0])
        query = net.encode(given.query_images).tensors[net.stage]
        encoded = net.encode(given.support_images.flatten(0, 1))
        states = net.encode_support(encoded, given.support_masks.flatten(0, 1))
        fore, back = net.averaged(states, shots=shots)
        coarse = cosine_scores(query, fore[..., None, None], back[..., None, None])
        reference.check(f"shot{shots}_coarse", coarse)
        if shots > 1:
            return
        own = with_own_prototypes(query, nearest_masks(given.query_masks, query))
        reference.check("shot1_self", upsampled(own, (SIDE, SIDE)))
        support, masks = encoded.tensors[net.stage], given.support_masks.flatten(0, 1)
        own_support = with_own_prototypes(support, nearest_masks(masks, support))
        reference.check("shot1_support", upsampled(own_support, (SIDE, SIDE))[:, None])
        found = net.loss_terms(replace(given.batch(), rng=None))
        expected = {
            "first": error(reference.arrays["shot1_logits"], given.query_masks),
            "query_self": error(reference.arrays["shot1_self"], given.query_masks),
            "support_self": error(reference.arrays["shot1_support"][:, 0], masks),
        }
    assert {name: term.weight for name, term in found.items()} == {
        "first": 1.0,
        "query_self": 1.0,
        "support_self": 0.2,
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name].value, value, rtol=1e-4, atol=1e-4)


def error(logits: NDArray[Any], truth: Tensor) -> Tensor:
    return F.cross_entropy(torch.from_numpy(logits), truth.long())


@pytest.fixture(scope="module")
def fptrans(fill: ModuleType) -> FPTrans:
    """Filled as for one shot."""
    net = as_a(FPTrans, unfilled("fptrans[classes=15,dropout=0,boundary=false]"))
    for encoder in (net.trunk, net.original_encoder):
        regrid(encoder, SIDE // 16)
    return fill.fill(net)


@pytest.mark.parametrize("shots", [1, 5])
def test_fptrans(shots: int, stored: Open, fill: ModuleType, fptrans: FPTrans) -> None:
    reference, net = stored("fptrans"), fptrans
    # Entries are filled by key and shape: the bank is all that differs with the shots.
    bank = fill.value("encoder.backbone.prompt_tokens", (15 * (1 + 5 * shots), 12, 768))
    net.prompt_tokens.data = torch.from_numpy(bank)
    given = pictures(fill, f"fptrans{shots}.", shots)
    name = f"shot{shots}"
    firsts = iter(reference.arrays[f"{name}_bg_first"].tolist())
    groups = torch.from_numpy(reference.arrays[f"{name}_prompt_index"]).long()
    groups = groups.unflatten(0, (EPISODES[shots], -1))
    with torch.no_grad():
        known = net.described(
            given.support_images.flatten(0, 1),
            given.support_masks.flatten(0, 1),
            lambda _row, _back: next(firsts),
        ).per_episode(shots)
        assert next(firsts, None) is None
        reference.check(f"{name}_fg_token", known.fore.mean(1, keepdim=True))
        reference.check(f"{name}_bg_token", known.back.flatten(1, 2))
        seen = net.seen(given.query_images, given.support_images, known, groups)
        if shots == 1:
            reference.check("shot1_query_map0", seen.query[0])
        query = net.purifier(seen.query)
        scores = net.compared(query, net.purified(seen.support), known)
        reference.check(f"{name}_pred", scores)
        reference.check(f"{name}_logits", upsampled(scores, (SIDE, SIDE)))
        by_prompts = proxy_scores(query, *net.prompt_proxies(seen.prompts))
        reference.check(f"{name}_logits_prompt", upsampled(by_prompts, (SIDE, SIDE)))
        terms = net.objective(replace(given.batch(), rng=None), known, seen)
    reference.check(f"{name}_losses", torch.stack([term.value for term in terms.values()]))
    assert [term.weight for term in terms.values()] == [1.0, 1.0, 0.02]
