"""SSP: Self-Support Few-Shot Semantic Segmentation (Fan et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .backbones.base import Backbone
from .blocks.prototypes import cosine_scores, fore_and_background
from .blocks.self_support import self_support
from .blocks.voting import upsampled
from .contract import EpisodeBatch, LossTerm, SupportState
from .plugins import Place, Plugin, Role
from .prototype import Prototype
from .rows import Rows

AUXILIARY_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class SSPScores:
    """The score maps of one forward pass, each [B, 2, h, w].

    Attributes:
        first: after one round of self-support.
        refined: after the second round; None without refinement.
    """

    first: Tensor
    refined: Tensor | None

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

    State-dict keys: the backbone's without a prefix (SSP `model/SSP_matching.py`).
    """

    offers = frozenset({Place.STAGE, Place.FEATURE, Place.SCORE})
    backbone_prefix = ""
    unused_keys = ("layer4.", "fc.", "classifier.")

    def __init__(self, backbone: Backbone, plugins: Sequence[Plugin] = (), *, refine: bool = True):
        super().__init__(backbone, plugins)
        self.refine = refine

    def score(self, query: Rows, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, h, w]."""
        fore, back = self.averaged(states, shots=shots)
        return self.self_supported(query.tensors[self.stage], fore, back).final[:, None]

    def self_supported(self, features: Tensor, fore: Tensor, back: Tensor) -> SSPScores:
        """SSP's matching of `features` [B, C, h, w] with prototypes [B, C] (eqs. 1-10)."""
        fore, back = fore[..., None, None], back[..., None, None]
        own = self_support(features, cosine_scores(features, fore, back))
        fore_1 = 0.5 * fore + 0.5 * own.fore
        back_1 = 0.3 * own.back + 0.7 * own.local_back
        first = cosine_scores(features, fore_1, back_1)
        if not self.refine:
            return SSPScores(first, None)
        own = self_support(features, first)
        fore_2 = 0.5 * fore + 0.5 * own.fore
        back_2 = 0.3 * own.back + 0.7 * own.local_back
        fore_2 = 0.5 * fore + 0.2 * fore_1 + 0.3 * fore_2
        back_2 = 0.5 * back + 0.2 * back_1 + 0.3 * back_2
        second = cosine_scores(features, fore_2, back_2)
        return SSPScores(first, 0.7 * second + 0.3 * first)

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Cross entropies of every map, of the query with its own prototypes, of each support.

        `CE(refined) + CE(first) + CE(query itself) + 0.2 CE(each support itself)`, 255 ignored
        (SSP `main.py`).
        """
        shots = batch.support_masks.shape[1]
        size = (batch.query_images.shape[-2], batch.query_images.shape[-1])
        support = self.walked(
            batch.support_images.flatten(0, 1),
            last_taps=[self.stage],
            role=Role.SUPPORT,
            rng=batch.rng,
        ).tensors[self.stage]
        query = self.walked(
            batch.query_images, last_taps=[self.stage], role=Role.QUERY, rng=batch.rng
        ).tensors[self.stage]
        support_masks = batch.support_masks.flatten(0, 1)
        prototypes = fore_and_background(support, support_masks)
        fore, back = (part.unflatten(0, (-1, shots)).mean(1) for part in prototypes)
        scores = self.self_supported(query, fore, back)

        def error(logits: Tensor, truth: Tensor, weight: float = 1.0) -> LossTerm:
            full = upsampled(logits, size)
            return LossTerm(weight, F.cross_entropy(full, truth.long(), ignore_index=255))

        terms: dict[str, LossTerm] = {}
        if scores.refined is not None:
            terms["refined"] = error(scores.refined, batch.query_masks)
        terms["first"] = error(scores.first, batch.query_masks)
        own = with_own_prototypes(query, batch.query_masks)
        terms["query_self"] = error(own, batch.query_masks)
        own = with_own_prototypes(support, support_masks)
        terms["support_self"] = error(own, support_masks, AUXILIARY_WEIGHT)
        return terms


def with_own_prototypes(features: Tensor, masks: Tensor) -> Tensor:
    """Logits [N, 2, h, w] of images matched with prototypes of their own truth [N, H, W]."""
    fore, back = fore_and_background(features, masks)
    return cosine_scores(features, fore[..., None, None], back[..., None, None])
