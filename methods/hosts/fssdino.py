"""FSSDINO: cluster centres and a Gram matrix of the support's tokens (arXiv 2602.07550, 2026).

Nothing is trained and nothing is learnt at test. Of a vision transformer it reads the last block's
output before the final normalisation, of another backbone the semantic stage's last tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..backbones.transformer import Transformer
from ..blocks.kmeans import CosineKMeans, Initial, farthest_points, settled
from ..blocks.prototypes import nearest_masks
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Plugin

CENTRES = 5
GRAM_EPS = 1e-8
NO_TOKENS = -2.0
"""Score of a class without tokens: below every other, which lies in [-1, 1] (published: -inf)."""


class FSSDINO(Method):
    """Scores of background and target from their tokens in all supports together.

    Options: see `fssdino.yaml`.

    Attributes:
        initial: which tokens of a class are the first centres of its k-means; called for the
            background first. The published code draws them from numpy's global generator.
    """

    initial: Initial = staticmethod(farthest_points)

    def __init__(self, backbone: Backbone, plugins: Sequence[Plugin] = (), *, size: int = 0):
        super().__init__(backbone, plugins)
        if size:
            backbone.resize_to(size)

    def features(self, images: Tensor) -> FeatureBatch:
        """The map whose positions are the tokens, `tokens` [N, C, h, w]."""
        trunk = self.backbone
        if isinstance(trunk, Transformer):
            last = len(trunk.blocks) - 1
            maps = trunk.read(images, blocks=[last]).map(last)
        else:
            maps = self.walked(images, last_taps=[trunk.semantic]).tensors[trunk.semantic]
        # In one layout, whether one image is encoded or several: products round by the layout.
        tokens = {"tokens": maps.contiguous()}
        return FeatureBatch((images.shape[-2], images.shape[-1]), tokens)

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """The map, its mask [1, h, w] (nearest neighbour), and a number to sort supports by.

        The last two are on the host, which must know how many tokens a class has.
        """
        maps = support.tensors["tokens"]
        low = nearest_masks(masks, maps)
        key = (maps.detach() * (1 + low[:, None])).double().sum((1, 2, 3))
        told = torch.cat((key[:, None], low.flatten(1)), dim=1).cpu()
        low = told[:, 1:].unflatten(1, low.shape[1:])
        rows = FeatureBatch(support.size, {"tokens": maps, "mask": low, "key": told[:, 0]})
        return [rows[i : i + 1] for i in range(len(rows))]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One pair of scores per episode at image size, [B, 1, 2, H, W]."""
        classes: list[Tensor] = []
        for number in range(len(query)):
            own = cast("Sequence[FeatureBatch]", states[number * shots : (number + 1) * shots])
            # Sums over tokens in one order, so that the supports' order does not count.
            own = sorted(own, key=lambda state: float(state.tensors["key"]))
            classes += class_tokens(FeatureBatch.cat(own))
        maps = query.tensors["tokens"].repeat_interleave(2, 0)
        scores = [
            combined(similarity_maps(*each), query.size)
            for each in zip(maps, classes, self.centres(classes), strict=True)
        ]
        return torch.stack(scores).unflatten(0, (-1, 1, 2))

    def centres(self, classes: Sequence[Tensor]) -> list[Tensor]:
        """Five k-means centres of each class's tokens [n, C]; fewer are their own centres."""
        runs = {
            place: CosineKMeans(tokens, CENTRES, self.initial)
            for place, tokens in enumerate(classes)
            if len(tokens) >= CENTRES
        }
        found = dict(zip(runs, settled(list(runs.values())), strict=True))
        return [found.get(place, tokens) for place, tokens in enumerate(classes)]


def class_tokens(support: FeatureBatch) -> tuple[Tensor, Tensor]:
    """Tokens [n, C] of background and target in an episode's K supports, shot by shot."""
    tokens = support.tensors["tokens"].permute(0, 2, 3, 1)
    mask = support.tensors["mask"] == 1
    back, fore = (
        tokens[tuple(onto(axis, tokens.device) for axis in places.nonzero(as_tuple=True))]
        for places in (~mask, mask)
    )
    return back, fore


def similarity_maps(query: Tensor, tokens: Tensor, centres: Tensor) -> Tensor:
    """Cosine to each centre [k, C], then the Gram map: [k + 1, h, w]; [0, h, w] without tokens.

    The Gram map of `query` [C, h, w] is `q^T G q` with `G` the mean of `x x^T` over the class's
    tokens `x` [n, C] at unit length, `q` as it is, scaled to [0, 1] within the query.
    """
    if not len(tokens):
        return query.new_empty((0, *query.shape[1:]))
    flat = query.flatten(1)
    cosines = F.normalize(centres, dim=1) @ F.normalize(flat, dim=0)
    unit = F.normalize(tokens, dim=1)
    gram = unit.T @ unit / len(unit)
    energy = (flat * (gram @ flat)).sum(0)
    least, most = energy.aminmax()
    energy = (energy - least) / (most - least + GRAM_EPS)
    return torch.cat((cosines, energy[None])).unflatten(1, query.shape[1:])


def combined(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The maximum times the mean of one class's `maps` [k, h, w] at image size: [H, W]."""
    if not len(maps):
        return maps.new_full(size, NO_TOKENS)
    full = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    return full.amax(0) * full.mean(0)
