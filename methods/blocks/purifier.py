"""FPTrans's purifier: finer and cleaner maps from a transformer's coarse ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Purifier(nn.Module):
    """Doubles the resolution: bilinear map plus a narrow learned correction.

    Keys are `layers.{0,3,6}` (FPTrans `networks/FPTrans.py`, HSLNet). The correction has `hidden`
    channels, 256 of 768; training sets a share `dropout` of its activations to zero.
    """

    def __init__(self, channels: int, *, hidden: int, dropout: float = 0.1):
        super().__init__()
        self.dropout = dropout
        # Dropout stands outside: torch's own draws from the global generator.
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Identity(),
            nn.ConvTranspose2d(hidden, hidden, 2, stride=2),
            nn.ReLU(),
            nn.Identity(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, maps: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """[N, C, h, w] -> [N, C, 2h, 2w].

        Raises:
            ValueError: in training with dropout, if there is no generator.
        """
        correction = maps
        for layer in self.layers:
            if isinstance(layer, nn.Identity):
                correction = self._thinned(correction, rng)
            else:
                correction = layer(correction)
        smooth = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
        return smooth + correction

    def _thinned(self, maps: Tensor, rng: torch.Generator | None) -> Tensor:
        if not self.training or self.dropout == 0:
            return maps
        if rng is None:
            raise ValueError("dropout draws: give the training batch a generator")
        return dropped(maps, self.dropout, rng)


def dropped(maps: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """`maps` with a `share` of their entries set to zero and the others enlarged to keep the mean.

    Drawn from `rng`, which may be on another device.
    """
    kept = torch.rand(maps.shape, generator=rng).to(maps.device) >= share
    return maps * kept / (1 - share)
