"""Layer normalisation of maps, over the channels of each position (SAM, DR-Adapter)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6


class LayerNorm2d(nn.Module):
    """Normalisation over the channels of a map, with the biased variance."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        centred = maps - maps.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + EPS).sqrt()
        return self.weight[:, None, None] * (centred / scale) + self.bias[:, None, None]
