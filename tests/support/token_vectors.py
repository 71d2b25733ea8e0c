"""Inputs of the reference vectors of methods on one frozen map: given maps, and episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .dino_vectors import NewVectors


class TokenVectors(NewVectors):
    """One .npz whose cases are made by the recipes `tokens` and `episode`."""

    def episode(self, recipe: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] and masks [n, H, W]."""
        name, count, height, width = (recipe[key] for key in ("N", "n", "H", "W"))
        images = self.input(f"{name}.image", (count, 3, height, width))
        masks = self.input(f"{name}.mask", (count, height, width), "mask")
        tone = self.input(f"{name.partition('/')[0]}.tone", (3, 1, 1))
        tone = tone / tone.square().mean().sqrt()
        return images + recipe["gain"] * tone * masks[:, None], masks

    def tokens(self, recipe: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps [K+1, C, h, w], masks [K+1, 8h, 8w], and the black image's map [C, h, w]."""
        name, shots, channels, height, width = (recipe[key] for key in ("N", "K", "C", "h", "w"))
        masks = self.input(f"{name}.mask", (shots + 1, 8 * height, 8 * width), "mask")
        basis = self.input(f"{name}.basis", (6, channels))
        low = F.avg_pool2d(masks[:, None], 8)
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
        quarter = 2 * (2 * rows // height) + 2 * columns // width
        own = basis[1 + quarter].permute(2, 0, 1)
        noise = self.input(f"{name}.tokens", (shots + 1, channels, height, width))
        fore, common = basis[0][:, None, None], basis[5][:, None, None]
        maps = noise + (1 - low) * own + 1.4 * low * fore + 0.5 * common
        return maps, masks, self.input(f"{name}.black", (1, channels, height, width))[0]
