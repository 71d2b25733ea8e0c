"""FPTrans's supports and feature proxies (Zhang et al., NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 20.0


@dataclass(frozen=True, slots=True)
class Supports:
    """What FPTrans needs of the S supports of B episodes, beside the images."""

    fore: Tensor  # class-aware foreground tokens [B, S, C]
    back: Tensor  # class-aware background tokens [B, S, 5, C]
    objects: Tensor  # where the object is at the purified resolution, [B, S, 2h, 2w]
    regions: Tensor  # the background regions there, [B, S, 5, 2h, 2w]

    def per_episode(self, shots: int) -> Supports:
        """Supports side by side, [B*S, ...], as B episodes of S."""
        parts = (self.fore, self.back, self.objects, self.regions)
        return Supports(*(part.unflatten(0, (-1, shots)) for part in parts))


def proxy_scores(query: Tensor, fore: Tensor, back: Tensor) -> Tensor:
    """Logits [B, 2, h, w] of maps [B, C, h, w]: 20 x cosine to the proxies.

    They are `fore` [B, C] and the nearest of `back` [B, P, C].
    """
    directions = F.normalize(query.flatten(2), dim=1)
    proxies = F.normalize(torch.cat((fore[:, None], back), dim=1), dim=2)
    cosines = (proxies @ directions).unflatten(2, query.shape[-2:])
    return SCALE * torch.stack((cosines[:, 1:].amax(1), cosines[:, 0]), dim=1)
