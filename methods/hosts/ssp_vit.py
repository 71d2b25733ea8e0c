"""SSP's matching on a vision transformer, as HSLNet builds its baseline (AAAI 2026)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.base import Backbone
from ..backbones.key_mapping import publish_as
from ..backbones.vit import UNUSED
from ..blocks.prototypes import fore_and_background, nearest_masks
from ..blocks.purifier import Purifier
from ..blocks.voting import upsampled
from ..core.contract import EpisodeBatch, LossTerm, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin, Role
from .ssp import AUXILIARY_WEIGHT, SSP, with_own_prototypes


class SSPViT(SSP):
    """SSP without refinement on a transformer's last map, purified to twice its resolution.

    Masks are brought to the map's size by nearest neighbour before features are pooled.

    Options: see `ssp-vit.yaml`.

    State-dict keys: `backbone.backbone.*` and `backbone.purifier.*` (HSLNet `model/hslnet.py`).
    """

    offers = SSP.offers - {Place.MAPS}
    backbone_prefix = "backbone.backbone."
    unused_keys = ("attn_layer.", *(f"backbone.backbone.{key}" for key in UNUSED))

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        hidden: int = 256,
        dropout: float = 0.1,
    ):
        super().__init__(backbone, plugins, refine=False)
        channels = backbone.stage(self.stage).channels
        self.purifier = Purifier(channels, hidden=hidden, dropout=dropout)
        publish_as(self, "purifier.", "backbone.purifier.")

    def features(self, images: Tensor) -> FeatureBatch:
        """The purified map of the last block."""
        return self.purified(images)

    def purified(
        self, images: Tensor, *, role: Role | None = None, rng: torch.Generator | None = None
    ) -> FeatureBatch:
        """As `features`; role and generator are for training."""
        rows = self.walked(images, last_taps=[self.stage], role=role, rng=rng)
        maps = self.purifier(rows.tensors[self.stage], rng)
        return FeatureBatch(rows.size, {**rows.tensors, self.stage: maps})

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Foreground and background prototype, [1, C] each."""
        return super().support_states(support, nearest_masks(masks, support.tensors[self.stage]))

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Cross entropies of the query's map, of its own prototypes, of each support's own.

        `CE(first) + CE(query itself) + 0.2 CE(each support itself)`, 255 ignored, as SSP's.
        """
        shots = batch.support_masks.shape[1]
        size = (batch.query_images.shape[-2], batch.query_images.shape[-1])
        images, masks = batch.support_images.flatten(0, 1), batch.support_masks.flatten(0, 1)
        rows = self.purified(images, role=Role.SUPPORT, rng=batch.rng)
        support = rows.tensors[self.stage]
        rows = self.purified(batch.query_images, role=Role.QUERY, rng=batch.rng)
        query = rows.tensors[self.stage]
        coarse = nearest_masks(masks, support)
        fore, back = (
            part.unflatten(0, (-1, shots)).mean(1) for part in fore_and_background(support, coarse)
        )
        maps = {
            "first": (self.self_supported(query, fore, back).final, batch.query_masks, 1.0),
            "query_self": (
                with_own_prototypes(query, nearest_masks(batch.query_masks, query)),
                batch.query_masks,
                1.0,
            ),
            "support_self": (with_own_prototypes(support, coarse), masks, AUXILIARY_WEIGHT),
        }
        return {
            name: LossTerm(
                weight,
                F.cross_entropy(upsampled(logits, size), truth.long(), ignore_index=255),
            )
            for name, (logits, truth, weight) in maps.items()
        }
