"""Control rows: what a method must beat before it may claim to have understood the support."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Plugin


class Constant(Method):
    """The same mask for every episode: everything, nothing, or an ellipse in the middle.

    Options: see the cards.
    """

    def __init__(
        self,
        backbone: Backbone | None = None,
        plugins: Sequence[Plugin] = (),
        *,
        shape: str = "all",
        radius: float = 0.35,
    ):
        del backbone
        super().__init__(None, plugins)
        self.shape = shape
        self.radius = radius

    def features(self, images: Tensor) -> FeatureBatch:
        """Nothing is kept but the number of images and their size."""
        return FeatureBatch(
            (images.shape[-2], images.shape[-1]), {"none": images.new_zeros(len(images))}
        )

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """The support is not looked at."""
        del masks
        return [support[i : i + 1] for i in range(len(support))]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """[B, 1, 2, H, W]: 1 in the channel of the constant mask."""
        del states, shots
        height, width = query.size
        device = query.tensors["none"].device
        if self.shape == "ellipse":
            y = (torch.arange(height, device=device) + 0.5) / height - 0.5
            x = (torch.arange(width, device=device) + 0.5) / width - 0.5
            inside = (y[:, None] ** 2 + x[None] ** 2 <= self.radius**2).float()
        else:
            inside = torch.full((height, width), float(self.shape == "all"), device=device)
        return torch.stack((1 - inside, inside)).expand(len(query), 1, 2, height, width)
