"""RSRM against what its published code computes, k-means's first centres as injected there."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.attention_fusion import (
    EPS,
    fused,
    mean_weights,
    position_channels,
    selected_layers,
)
from cdfss_bench.methods.blocks.kmeans import Initial
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.rsrm import RSRM

from ...support.dino_vectors import NewVectors
from ...support.recipes import pictures, position, residual_maps, stated_mask
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

vectors = stored_vectors(NewVectors, "rsrm.npz")


def drawn(vectors: NewVectors, spec: dict[str, Any], masks: Tensor) -> Initial:
    """The first centres of every call, as the vectors inject them."""
    name, repeats = spec["name"], "duplicates" in spec["injected"]

    def calls() -> Iterator[str]:
        for shot, mask in enumerate(masks):
            for part, tokens in (("fg", mask), ("bg", ~mask)):
                if tokens.any():
                    yield f"{name}.km.{shot}.{part}.1"

    remaining = calls()

    def initial(tokens: Tensor, count: int) -> Tensor:
        rng = vectors.fill.rng(next(remaining), vectors.seed)
        chosen = torch.from_numpy(rng.permutation(len(tokens))[:count])
        return chosen[torch.arange(count) // 2 * 2] if repeats else chosen

    return initial


def injected(
    vectors: NewVectors, net: RSRM, spec: dict[str, Any], size: tuple[int, int]
) -> tuple[Tensor, FeatureBatch, Tensor]:
    """The query's residuals, the supports' features and masks of a case without a backbone."""
    (recipe,) = spec["inputs"]
    maps = residual_maps(vectors, recipe)
    residuals, masks = maps.tokens, maps.masks[:-1]
    if "mask" in recipe:
        masks = stated_mask(recipe["mask"], *size)[None]
    if "then" in recipe:
        pair = [recipe["C"] // 3, 2 * recipe["C"] // 3]
        residuals[:, :11, pair] *= 0.05
        residuals[:, 11, pair] += 30 * position(recipe["h"], recipe["w"])
    variance = maps.beside[:-1].flatten(2).var(2)
    support = FeatureBatch(size, {"A": residuals[:-1], "variance": variance})
    return residuals[-1], support, masks


def filled(
    vectors: NewVectors, net: RSRM, spec: dict[str, Any]
) -> tuple[Tensor, FeatureBatch, Tensor]:
    """The same of a case with a filled DINOv3."""
    net.backbone = vectors.filled_dino("dinov3-s16")
    (support, masks), (query, _) = (pictures(vectors, recipe) for recipe in spec["inputs"])
    return net.encode(query).tensors["A"][0], net.encode(support), masks


def selected(support: FeatureBatch) -> Tensor:
    """Layers that `layer_weights` may weigh, [K, L]."""
    rows: list[Tensor] = []
    for residuals, last in zip(*support.tensors.values(), strict=True):
        variance = residuals.flatten(2).var(2)
        rates = variance[:, position_channels(last)].sum(1) / (variance.sum(1) + EPS)
        rows.append(selected_layers(rates))
    return torch.stack(rows)


def check(vectors: NewVectors, case: str) -> None:
    spec = vectors.cases[case]
    name, size = spec["name"], (spec["parameters"]["image_size"],) * 2
    is_injected = spec["inputs"][0]["recipe"] == "A and Z"
    net = build("rsrm", backbone="vit-mini" if is_injected else "dinov3-s16")
    assert isinstance(net, RSRM)
    if is_injected:
        query, support, masks = injected(vectors, net, spec, size)
    else:
        query, support, masks = filled(vectors, net, spec)
    states = [s for s in net.support_states(support, masks) if isinstance(s, FeatureBatch)]
    rows = FeatureBatch.cat(states)
    weights, low = mean_weights(rows.tensors["weights"]), rows.tensors["mask"]
    grid = query.shape[-2:]
    net.initial = drawn(vectors, spec, low)
    (found,) = net.matched([net.enhanced(query, rows)])
    enhanced = found.enhanced
    scores = found.scores.unflatten(1, grid)[None]
    outputs = {
        "selected": selected(support),
        "weights": weights,
        "thresholds": enhanced.thresholds,
        "prior": enhanced.prior.unflatten(1, grid),
        "query_fused": fused(query, weights),
        "enhanced": enhanced.tokens.transpose(1, 2).unflatten(2, grid),
        "scale_maps": found.maps.unflatten(3, grid),
        "logits": upsampled(scores[None], size)[0],
        "mask": net.decide(scores[None], size)[0],
    }
    assert {o["array"] for o in spec["outputs"]} == {f"{name}.{key}" for key in outputs}
    for key, value in outputs.items():
        vectors.check(case, f"{name}.{key}", value)
    net.initial = drawn(vectors, spec, low)
    again = net.score(FeatureBatch(size, {"A": query[None]}), states, shots=len(states))
    assert torch.equal(again[0], scores)


@torch.no_grad()
def test_every_case(vectors: NewVectors) -> None:
    assert len(vectors.cases) >= 11
    for case in vectors.cases:
        check(vectors, case)
