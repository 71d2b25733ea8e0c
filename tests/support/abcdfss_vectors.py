"""Reading `abcdfss.npz`: inputs as its manifest words them, comparison at the stored tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .dino_vectors import NewVectors
from .recipes import images


class Cases(NewVectors):
    """The cases of the file by id, with the arrays."""

    def images(self, spec: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] and masks [n, H, W] of the recipe `episode`."""
        found, mask = images(self, *(spec[key] for key in ("N", "n", "H", "W", "gain")))
        replaced = str(spec.get("mask", "")).startswith("replaced by zeros")
        return found, torch.zeros_like(mask) if replaced else mask
