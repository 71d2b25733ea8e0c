"""Inputs of the reference vectors of methods on one frozen map: given maps, and episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .dino_vectors import NewVectors
from .recipes import images, token_maps


class TokenVectors(NewVectors):
    """One .npz whose cases are made by the recipes `tokens` and `episode`."""

    def episode(self, recipe: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] and masks [n, H, W]."""
        return images(self, *(recipe[key] for key in ("N", "n", "H", "W", "gain")))

    def tokens(self, recipe: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps [K+1, C, h, w], masks [K+1, 8h, 8w], and the black image's map [C, h, w]."""
        name, shots, channels, height, width = (recipe[key] for key in ("N", "K", "C", "h", "w"))
        found = token_maps(self, name, shots, channels, height, width)
        black = self.input(f"{name}.black", (1, channels, height, width))[0]
        return found.tokens, found.masks, black
