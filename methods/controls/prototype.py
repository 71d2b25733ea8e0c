"""The plainest host: cosine to the support's mean foreground and background feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from ..backbones.base import Backbone
from ..blocks.prototypes import cosine_scores, fore_and_background
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Place, Plugin


class Prototype(Method):
    """Cosine of each query position to two prototypes; K shots are averaged as prototypes.

    Nothing is trained: as a control row it shows what pretrained features alone can do.

    Args:
        backbone: any with a `semantic` stage; features are that stage's last tap.
        plugins: what it carries.
    """

    offers = frozenset({Place.FEATURE, Place.SCORE})

    def __init__(self, backbone: Backbone, plugins: Sequence[Plugin] = ()):
        super().__init__(backbone, plugins)
        self.stage = backbone.semantic

    def features(self, images: Tensor) -> FeatureBatch:
        """The semantic stage's last tap."""
        return self.walked(images, last_taps=[self.stage])

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Foreground and background prototype, [1, C] each."""
        fore, back = fore_and_background(support.tensors[self.stage], masks)
        rows = FeatureBatch(support.size, {"fore": fore, "back": back})
        return [rows[i : i + 1] for i in range(len(rows))]

    def averaged(self, states: Sequence[SupportState], *, shots: int) -> tuple[Tensor, Tensor]:
        """Foreground and background prototypes [B, C] of B*K states."""
        rows = FeatureBatch.cat(cast("Sequence[FeatureBatch]", states))
        fore, back = (
            rows.tensors[name].unflatten(0, (-1, shots)).mean(1) for name in ("fore", "back")
        )
        return fore, back

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, h, w]."""
        fore, back = self.averaged(states, shots=shots)
        features = query.tensors[self.stage]
        return cosine_scores(features, fore[..., None, None], back[..., None, None])[:, None]
