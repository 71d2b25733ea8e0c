"""SSP: Self-Support Few-Shot Semantic Segmentation (Fan et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..backbones.base import Backbone
from ..blocks.prototypes import cosine_scores, fore_and_background
from ..blocks.self_support import self_support
from ..blocks.voting import upsampled
from ..controls.prototype import Prototype
from ..core.contract import EpisodeBatch, LossTerm, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin, Role
from ..fast.attention import Attention

AUXILIARY_WEIGHT = 0.2


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
        fore, back = fore[..., None, None], back[..., None, None]
        return self_supported_scores(features, fore, back, rounds=2 if self.refine else 1)

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
    features: Tensor, fore: Tensor, back: Tensor, *, rounds: int, eps: float = 0.0
) -> SSPScores:
    """One or two rounds of self-support of `features` [B, C, h, w] (SSP eqs. 1-10).

    Args:
        features: of the query.
        fore: prototype [B, C, 1, 1].
        back: prototype [B, C, 1, 1], or one per position [B, C, h, w].
        rounds: 2 with refinement.
        eps: added to the norms in the attention to confident positions.
    """
    attention = Attention(features, eps=eps)
    own = self_support(features, cosine_scores(features, fore, back), attention)
    fore_1 = 0.5 * fore + 0.5 * own.fore
    back_1 = 0.3 * own.back + 0.7 * own.local_back
    first = cosine_scores(features, fore_1, back_1)
    if rounds == 1:
        return SSPScores(first, None, fore_1, back_1)
    own = self_support(features, first, attention)
    fore_2 = 0.5 * fore + 0.5 * own.fore
    back_2 = 0.3 * own.back + 0.7 * own.local_back
    fore_2 = 0.5 * fore + 0.2 * fore_1 + 0.3 * fore_2
    back_2 = 0.5 * back + 0.2 * back_1 + 0.3 * back_2
    second = cosine_scores(features, fore_2, back_2)
    return SSPScores(first, 0.7 * second + 0.3 * first, fore_1, back_1)


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
