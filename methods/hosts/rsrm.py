"""RSRM: robust semantic representation and matching (ECCV 2026, arXiv 2606.24297).

Nothing is trained and nothing is learnt at test. What the attention of each block adds to a vision
transformer's stream is fused with weights from the supports (`blocks/attention_fusion.py`); the
supports' tokens are enhanced with the query's (ASE), and the query is compared with them at three
scales (HPM).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError
from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..backbones.transformer import Transformer
from ..blocks.attention_fusion import (
    chosen,
    fused,
    layer_weights,
    mean_weights,
    position_channels,
    residual_masks,
)
from ..blocks.kmeans import EuclideanKMeans, Initial, farthest_points, settled
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Plugin

SCALE = 10.0
"""Of cosines before a softmax."""
STEPS = 20
"""The thresholds tried are 0, 1/20, ..., 1."""
NEAR_BEST = 0.75
"""Share of the best IoU at which a threshold counts."""
FALLBACK = 12
"""Tokens of a query set that no token's probability is high enough for."""
FORE_CENTRES, BACK_CENTRES = 9, 18
MEAN_EPS = 1e-5
IOU_EPS = 1e-6
NEVER = -1.0
"""Cosine to a class that has no token in a support."""


class Enhanced(NamedTuple):
    """A query and its K supports before they are compared."""

    query: Tensor  # fused tokens [N, C]
    tokens: Tensor  # of the supports, enhanced, [K, N, C]
    masks: Tensor  # of the supports' tokens, bool [K, N], on the host
    thresholds: Tensor  # (foreground, background) of each support, [K, 2]
    prior: Tensor  # whether a query token counts as background, foreground, bool [2, N]


class Matching(NamedTuple):
    """What matching a query with its K supports computes."""

    enhanced: Enhanced  # what is compared
    maps: Tensor  # [K, 3, 2, N]: each support's maps at three scales, foreground first
    scores: Tensor  # [2, N], background first


class RSRM(Method):
    """Fused attention residuals, supports enhanced by the query, cosines at three scales.

    Options: see `rsrm.yaml`.

    Attributes:
        initial: which tokens of a class are the first centres of its k-means; called once for each
            class of each support, foreground first. The published code draws them from torch's
            global generator.

    Raises:
        CompositionError: for a backbone that is no transformer.
    """

    initial: Initial = staticmethod(farthest_points)

    def __init__(self, backbone: Backbone, plugins: Sequence[Plugin] = (), *, size: int = 0):
        super().__init__(backbone, plugins)
        if not isinstance(backbone, Transformer):
            raise CompositionError("RSRM reads the attention of a vision transformer's blocks")
        if size:
            backbone.resize_to(size)

    def features(self, images: Tensor) -> FeatureBatch:
        """Attention residuals `A` [N, L, C, h, w], and the last map's `variance` [N, C]."""
        trunk = self.backbone
        assert isinstance(trunk, Transformer)
        found = trunk.read(images, residuals=True)
        assert found.residuals is not None
        return FeatureBatch(
            (images.shape[-2], images.shape[-1]),
            {"A": found.residuals, "variance": found.normed.flatten(2).var(2)},
        )

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Residuals, the mask of the tokens [1, h, w] on the host, the layers' weights [1, L]."""
        states: list[SupportState] = []
        maps = support.tensors["A"]
        for number, low in enumerate(residual_masks(masks, (maps.shape[-2], maps.shape[-1])).cpu()):
            residuals = maps[number]
            channels = position_channels(support.tensors["variance"][number])
            weights = layer_weights(residuals, channels, low)
            rows = {"A": residuals, "mask": low, "weights": weights}
            states.append(FeatureBatch(support.size, {k: t[None] for k, t in rows.items()}))
        return states

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, h, w]; background alone where no support has an object."""
        maps = query.tensors["A"]
        ready: dict[int, Enhanced] = {}
        for number, residuals in enumerate(maps):
            own = cast("Sequence[FeatureBatch]", states[number * shots : (number + 1) * shots])
            shown = [state for state in own if state.tensors["mask"].any()]
            if shown:
                ready[number] = self.enhanced(residuals, FeatureBatch.cat(shown))
        found = dict(zip(ready, self.matched(list(ready.values())), strict=True))
        grid = maps.shape[-2:]
        never = torch.stack((maps.new_zeros(grid), maps.new_full(grid, NEVER)))
        scores = [
            found[number].scores.reshape(2, *grid) if number in found else never
            for number in range(len(maps))
        ]
        return torch.stack(scores)[:, None]

    def enhanced(self, residuals: Tensor, support: FeatureBatch) -> Enhanced:
        """ASE of residuals [L, C, h, w] of a query, with supports that each have the object."""
        weights = mean_weights(support.tensors["weights"])
        query = fused(residuals, weights).flatten(1).T
        shown = torch.stack([fused(a, weights).flatten(1).T for a in support.tensors["A"]])
        on_host = support.tensors["mask"].flatten(1)
        masks = onto(on_host, shown.device)
        prototypes = torch.stack(
            [torch.stack((_mean(s, ~m), _mean(s, m))) for s, m in zip(shown, masks, strict=True)]
        )
        thresholds = torch.stack(
            [
                robust_thresholds(probabilities(s, p), m)
                for s, p, m in zip(shown, prototypes, masks, strict=True)
            ]
        )
        prior = query_sets(
            probabilities(query, unordered_mean(prototypes)), unordered_mean(thresholds)
        )
        tokens = torch.stack(
            [enhanced_tokens(s, query, m, prior) for s, m in zip(shown, masks, strict=True)]
        )
        return Enhanced(query, tokens, on_host, thresholds, prior)

    def matched(self, episodes: Sequence[Enhanced]) -> list[Matching]:
        """HPM of several episodes, whose k-means go on side by side.

        The scales are a class's mean, its k-means centres, and all of its tokens. A class without a
        token in a support has the cosine -1 there.
        """
        classes: list[Tensor] = []
        for one in episodes:
            for tokens, mask in zip(one.tokens, one.masks, strict=True):
                classes += [tokens[chosen(part, tokens.device)] for part in (mask, ~mask)]
        sizes = (FORE_CENTRES, BACK_CENTRES) * (len(classes) // 2)
        runs = {
            place: EuclideanKMeans(own, min(count, len(own)), self.initial)
            for place, (own, count) in enumerate(zip(classes, sizes, strict=True))
            if len(own)
        }
        centres = dict(zip(runs, settled(list(runs.values())), strict=True))
        scales = iter(
            (own.mean(0, keepdim=True), centres[place], own) if place in centres else ()
            for place, own in enumerate(classes)
        )
        found: list[Matching] = []
        for one in episodes:
            maps = torch.stack(
                [
                    torch.stack([largest_cosines(one.query, next(scales)) for _ in range(2)], dim=1)
                    for _ in one.masks
                ]
            )
            scores = unordered_mean(torch.stack([weighted(each) for each in maps]))
            found.append(Matching(one, maps, scores))
        return found


def largest_cosines(query: Tensor, scales: Sequence[Tensor]) -> Tensor:
    """Largest cosine of each query token [N, C] to a class at each of three scales: [3, N].

    A scale is tokens or centres [n, C]; a class without a token has none.
    """
    unit = F.normalize(query, dim=1)
    if not scales:
        return unit.new_full((3, len(unit)), NEVER)
    return torch.stack([(unit @ F.normalize(each, dim=1).T).amax(1) for each in scales])


def unordered_mean(rows: Tensor) -> Tensor:
    """Mean over the K supports [K, ...], to the bit the same whatever their order."""
    return rows.sort(0).values.mean(0)


def probabilities(tokens: Tensor, prototypes: Tensor) -> Tensor:
    """Of background and foreground, [2, N], from cosines to the prototypes [2, C] of both."""
    cosines = F.cosine_similarity(tokens[None], prototypes[:, None], dim=2)
    return (SCALE * cosines).softmax(0)


def robust_thresholds(shares: Tensor, mask: Tensor) -> Tensor:
    """Mean of the thresholds that nearly best recover a support's own mask: [2], foreground first.

    From probabilities of background and foreground, [2, N], and the mask, bool [N].
    """
    numbers = torch.arange(STEPS + 1, device=shares.device)
    steps = numbers / STEPS
    found: list[Tensor] = []
    for own, truth in ((shares[1], mask), (shares[0], ~mask)):
        above = own >= steps[:, None]
        shared, either = (above & truth).sum(1), (above | truth).sum(1)
        overlap = (shared + IOU_EPS) / (either + IOU_EPS)
        near = overlap >= NEAR_BEST * overlap.max()
        # The mean of those thresholds, as one division of whole numbers.
        found.append((near * numbers).sum() / (STEPS * near.sum()))
    return torch.stack(found)


def query_sets(shares: Tensor, thresholds: Tensor) -> Tensor:
    """Query tokens taken for background and for foreground, bool [2, N]; neither set is empty.

    From probabilities of background and foreground, [2, N], and thresholds [2], foreground first.
    """
    sets = shares > thresholds.flip(0)[:, None]
    best = shares.topk(min(FALLBACK, shares.shape[1]), dim=1).indices
    fallback = torch.zeros_like(sets).scatter(1, best, value=True)
    return torch.where(sets.any(1, keepdim=True), sets, fallback)


def enhanced_tokens(tokens: Tensor, query: Tensor, mask: Tensor, prior: Tensor) -> Tensor:
    """Half a support's tokens, half what they find among the query's of their class, [N, C].

    `prior` are the query's sets, bool [2, N], background first; the support's mask is bool [N].
    """
    allowed = torch.where(mask[:, None], prior[1], prior[0])
    logits = tokens @ query.T / tokens.shape[1] ** 0.5
    weights = logits.masked_fill(~allowed, -torch.inf).softmax(1)
    return (weights @ query + tokens) / 2


def weighted(maps: Tensor) -> Tensor:
    """Mean over scales of weighted maps [3, 2, N]: [2, N], background first.

    A scale weighs more where foreground stands out from background; the weights sum to 1.
    """
    fore, back = maps.unbind(1)
    inside = (fore > back).to(fore.dtype)
    least, most = fore.aminmax()
    level = (fore - least) / (most - least + MEAN_EPS)

    def mean(where: Tensor) -> Tensor:
        return (level * where).sum(1) / (where.sum(1) + MEAN_EPS)

    contrast = mean(inside) - mean(1 - inside)
    share = (contrast / fore.abs().std().clamp_min(1e-12)).softmax(0)[:, None]
    return torch.stack(((share * back).mean(0), (share * fore).mean(0)))


def _mean(tokens: Tensor, mask: Tensor) -> Tensor:
    return (tokens * mask[:, None]).sum(0) / (mask.sum() + MEAN_EPS)
