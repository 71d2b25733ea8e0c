"""SSP: Self-Support Few-Shot Semantic Segmentation (Fan et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from ..backbones.base import Backbone
from ..blocks.prototypes import cosine_scores, fore_and_background
from ..blocks.self_support import (
    BACK_THRESHOLD,
    FORE_THRESHOLD,
    SelfSupport,
    confident,
    local_prototypes,
    self_support,
)
from ..blocks.voting import upsampled
from ..controls.prototype import Prototype
from ..core.contract import EpisodeBatch, LossTerm, PublishedWork, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin, Role

FORE_SHARES = (0.5, 0.5)
"""Of the support's and of the query's own foreground prototype (`model/SSP_matching.py`)."""
BACK_SHARES = (0.3, 0.7)
"""Of the query's own background prototype and of each position's local one (same file)."""
REFINED_SHARES = (0.5, 0.2, 0.3)
"""Of the prototypes of the support, the first and the second round, with refinement (same file)."""
SCORE_SHARES = (0.3, 0.7)
"""Of the first round's score map and of the refined one (same file)."""
AUXILIARY_WEIGHT = 0.2
"""Of the supports' own terms in the loss (`main.py`)."""


@dataclass(frozen=True, slots=True)
class SSPScores:
    """The score maps of one forward pass, each [B, 2, h, w].

    Attributes:
        first: after one round of self-support.
        refined: after the second round; None without refinement.
        fore: the foreground prototype of the first round, [B, C, 1, 1].
        back: its background prototype, one per position, [B, C, h, w].
    """

    first: Tensor
    refined: Tensor | None
    fore: Tensor
    back: Tensor

    @property
    def final(self) -> Tensor:
        """What is decided on."""
        return self.first if self.refined is None else self.refined


class Matching:
    """What every round of self-support computes of the same features.

    Args:
        features: of the query, [B, C, h, w].
    """

    def __init__(self, features: Tensor):
        self.features = features

    def scored(self, fore: Tensor, back: Tensor) -> Tensor:
        """Logits [B, 2, h, w] from prototypes, as `cosine_scores`."""
        return cosine_scores(self.features, fore, back)

    def attention(self, chosen: Tensor) -> Tensor:
        """Local prototypes [B, C, h, w] of chosen positions, bool [B, h * w] (eq. 7)."""
        return local_prototypes(self.features.flatten(2), chosen).reshape(self.features.shape)


class SSP(Prototype):
    """Cosine to prototypes of the support, then to prototypes of the query's confident pixels.

    K shots are averaged as prototypes. There are no parameters beside the backbone's.

    Args:
        backbone: any with a `semantic` stage; features are that stage's last tap, which is signed
            (SSP drops the last ReLU of layer3).
        plugins: what it carries.
        refine: the second round, on in every published SSP figure.
        layer: which features are read instead; see `Backbone.layer`.
        size: side in pixels to which images are brought for the backbone; 0 leaves them.

    State-dict keys: the backbone's without a prefix (SSP `model/SSP_matching.py`).
    """

    offers = frozenset({Place.STAGE, Place.FEATURE, Place.SCORE, Place.MAPS})
    backbone_prefix = ""
    unused_keys = ("layer4.", "fc.", "classifier.")

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        refine: bool = True,
        layer: str = "",
        size: int = 0,
    ):
        super().__init__(backbone, plugins, layer=layer, size=size)
        self.refine = refine

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, h, w]."""
        fore, back = self.averaged(states, shots=shots)
        return self.self_supported(query.tensors[self.stage], fore, back).final[:, None]

    def self_supported(self, features: Tensor, fore: Tensor, back: Tensor) -> SSPScores:
        """SSP's matching of `features` [B, C, h, w] with prototypes [B, C] (eqs. 1-10)."""
        matching = self.matching(features)
        return self_supported_scores(
            features,
            fore[..., None, None],
            back[..., None, None],
            rounds=2 if self.refine else 1,
            attention=matching.attention,
            scored=matching.scored,
        )

    def matching(self, features: Tensor) -> Matching:
        """What every round computes of `features` [B, C, h, w] of the query."""
        return Matching(features)

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Cross entropies of every map, of the query with its own prototypes, of each support.

        `CE(refined) + CE(first) + CE(query itself) + 0.2 CE(each support itself)`, 255 ignored
        (SSP `main.py`).
        """
        support = self.walked(
            batch.support_images.flatten(0, 1),
            last_taps=[self.stage],
            role=Role.SUPPORT,
            rng=batch.rng,
        ).tensors[self.stage]
        query = self.walked(
            batch.query_images, last_taps=[self.stage], role=Role.QUERY, rng=batch.rng
        ).tensors[self.stage]
        return self.matching_terms(query, support, batch.query_masks, batch.support_masks)

    def matching_terms(
        self, query: Tensor, support: Tensor, query_masks: Tensor, support_masks: Tensor
    ) -> dict[str, LossTerm]:
        """The terms of `loss_terms` from features that are already there.

        Args:
            query: features of B queries, [B, C, h, w].
            support: features of B*K supports, an episode's K side by side, [B*K, C, h, w].
            query_masks: [B, H, W] of 0, 1 and 255.
            support_masks: [B, K, H, W] likewise.
        """
        fore, back = mean_prototypes(support, support_masks)
        scores = self.self_supported(query, fore, back)
        return map_terms(scores, query, support, query_masks, support_masks)

    def published_work(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> PublishedWork | None:
        """Attention to the confident foreground too, unused (`model/SSP_matching.py` SSP_func).

        Two products of N positions with the chosen ones, for the foreground and for the background
        and in every round from nothing: `4 C N (N_fore + N_back)` FLOPs. How many are chosen
        depends on the features. Means are sums and count nothing.
        """
        if self.feature_plugins:
            return None
        features = query.tensors[self.stage]
        states = self.support_states(support, masks)
        fore, back = self.averaged(states, shots=len(states))
        scores = [cosine_scores(features, fore[..., None, None], back[..., None, None])]
        if self.refine:
            scores.append(self.self_supported(features, fore, back).first)
        chosen = 0
        for logits in scores:
            probability = logits.flatten(2).softmax(1)
            chosen += int(confident(probability[:, 1], FORE_THRESHOLD).sum())
            chosen += int(confident(probability[:, 0], BACK_THRESHOLD).sum())
        return PublishedWork(
            operations=4 * features[0].numel() * chosen,
            replaced=lambda: self.self_supported(features, fore, back),
        )


def map_terms(
    scores: SSPScores, query: Tensor, support: Tensor, query_masks: Tensor, support_masks: Tensor
) -> dict[str, LossTerm]:
    """SSP's terms for score maps that are already there; the rest as in `SSP.matching_terms`."""
    masks = support_masks.flatten(0, 1)
    terms: dict[str, LossTerm] = {}
    if scores.refined is not None:
        terms["refined"] = LossTerm(1.0, pixel_error(scores.refined, query_masks))
    terms["first"] = LossTerm(1.0, pixel_error(scores.first, query_masks))
    own = with_own_prototypes(query, query_masks)
    terms["query_self"] = LossTerm(1.0, pixel_error(own, query_masks))
    own = with_own_prototypes(support, masks)
    terms["support_self"] = LossTerm(AUXILIARY_WEIGHT, pixel_error(own, masks), "supports")
    return terms


def self_supported_scores(
    features: Tensor,
    fore: Tensor,
    back: Tensor,
    *,
    rounds: int,
    attention: Callable[[Tensor], Tensor] | None = None,
    scored: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> SSPScores:
    """One or two rounds of self-support of `features` [B, C, h, w] (SSP eqs. 1-10).

    Args:
        features: of the query.
        fore: prototype [B, C, 1, 1].
        back: prototype [B, C, 1, 1], or one per position [B, C, h, w].
        rounds: 2 with refinement.
        attention: as in `self_support`.
        scored: gives the logits of the features from prototypes; by default `cosine_scores`.
    """
    scored = scored or partial(cosine_scores, features)
    own = self_support(features, scored(fore, back), attention)
    fore_1, back_1 = self_supported_prototypes(fore, own)
    first = scored(fore_1, back_1)
    if rounds == 1:
        return SSPScores(first, None, fore_1, back_1)
    own = self_support(features, first, attention)
    fore_2, back_2 = self_supported_prototypes(fore, own)
    fore_2 = _mixed(REFINED_SHARES, fore, fore_1, fore_2)
    back_2 = _mixed(REFINED_SHARES, back, back_1, back_2)
    second = scored(fore_2, back_2)
    return SSPScores(first, _mixed(SCORE_SHARES, first, second), fore_1, back_1)


def self_supported_prototypes(fore: Tensor, own: SelfSupport) -> tuple[Tensor, Tensor]:
    """Foreground [B, C, 1, 1] and background [B, C, h, w] of one round (`model/SSP_matching.py`).

    Args:
        fore: the support's foreground prototype [B, C, 1, 1].
        own: what was found in the images themselves.
    """
    return _mixed(FORE_SHARES, fore, own.fore), _mixed(BACK_SHARES, own.back, own.local_back)


def _mixed(shares: Sequence[float], *parts: Tensor) -> Tensor:
    weighed = [share * part for share, part in zip(shares, parts, strict=True)]
    return sum(weighed[1:], weighed[0])


def mean_prototypes(support: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground and background prototypes [B, C]: means over an episode's shots.

    Args:
        support: features [B*K, C, h, w], an episode's K side by side.
        masks: [B, K, H, W] of 0, 1 and 255.
    """
    shots = masks.shape[1]
    fore, back = fore_and_background(support, masks.flatten(0, 1))
    return fore.unflatten(0, (-1, shots)).mean(1), back.unflatten(0, (-1, shots)).mean(1)


def pixel_error(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy of `logits` [N, 2, h, w] with `truth` [N, H, W], 255 left out."""
    full = upsampled(logits, (truth.shape[-2], truth.shape[-1]))
    return F.cross_entropy(full, truth.long(), ignore_index=255)


def with_own_prototypes(features: Tensor, masks: Tensor) -> Tensor:
    """Logits [N, 2, h, w] of images matched with prototypes of their own truth [N, H, W]."""
    fore, back = fore_and_background(features, masks)
    return cosine_scores(features, fore[..., None, None], back[..., None, None])
