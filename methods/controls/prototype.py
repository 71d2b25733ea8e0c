"""The plainest host: cosine to the support's mean foreground and background feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self, cast

from torch import Tensor

from ..backbones.base import Backbone, Stage
from ..blocks.prototypes import cosine_scores, fore_and_background
from ..core.adaptation import copy_of
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Place, Plugin


class Prototype(Method):
    """Cosine of each query position to two prototypes; K shots are averaged as prototypes.

    Nothing is trained: as a control row it shows what pretrained features alone can do.

    Options: see `prototype.yaml`.
    """

    offers = frozenset({Place.FEATURE, Place.SCORE, Place.MAPS})

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        layer: str = "",
        size: int = 0,
    ):
        self.layer = layer  # before plug-ins ask for the stage that they act on
        super().__init__(backbone, plugins)
        if size:
            backbone.resize_to(size)
        self.stage = backbone.layer(layer)[1]

    def features(self, images: Tensor) -> FeatureBatch:
        """The layer's features; by default the semantic stage's last tap."""
        return self.walked(images, last_taps=[self.stage])

    def reading(self, layer: str) -> Self:
        """This method, reading another layer; parameters are shared.

        Raises:
            CompositionError: if there is no such layer.
        """
        other = copy_of(self)
        other.layer, other.stage = layer, self.backbone.layer(layer)[1]
        return other

    def adaptable(self, backbone: Backbone) -> Stage:
        """The layer that is read, under the name of its features."""
        stage, name = backbone.layer(self.layer)
        return replace(stage, name=name)

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Foreground and background prototype, [1, C] each."""
        fore, back = fore_and_background(support.tensors[self.stage], masks)
        rows = FeatureBatch(support.size, {"fore": fore, "back": back})
        return [rows[i : i + 1] for i in range(len(rows))]

    def averaged(self, states: Sequence[SupportState], *, shots: int) -> tuple[Tensor, Tensor]:
        """Foreground and background prototypes [B, C] of B*K states."""
        rows = FeatureBatch.cat(cast("Sequence[FeatureBatch]", states))
        fore, back = (rows.tensors[name] for name in ("fore", "back"))
        if self.shows_rounding:  # in double precision the order of the shots does not show
            fore, back = fore.double(), back.double()
        fore, back = (each.unflatten(0, (-1, shots)).mean(1) for each in (fore, back))
        return fore.to(rows.tensors["fore"].dtype), back.to(rows.tensors["back"].dtype)

    @property
    def shows_rounding(self) -> bool:
        """Whether what follows the scores makes their rounding visible."""
        return any(plugin.shows_rounding for plugin in self.score_plugins)

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, h, w]."""
        fore, back = self.averaged(states, shots=shots)
        features = query.tensors[self.stage]
        return cosine_scores(features, fore[..., None, None], back[..., None, None])[:, None]
