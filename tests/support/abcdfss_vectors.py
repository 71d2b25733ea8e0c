"""Reading `abcdfss.npz`: inputs as its manifest words them, comparison at the stored tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dino_vectors import NewVectors
from .recipes import images

NAME = "abcdfss.npz"


class Cases(NewVectors):
    """The cases of the file by id, with the arrays."""

    def __init__(self, folder: Path, fill: ModuleType):
        super().__init__(folder, NAME, fill)

    def images(self, spec: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] and masks [n, H, W] of the recipe `episode`."""
        found, mask = images(self, *(spec[key] for key in ("N", "n", "H", "W", "gain")))
        replaced = str(spec.get("mask", "")).startswith("replaced by zeros")
        return found, torch.zeros_like(mask) if replaced else mask

    def specs(self, case: str) -> dict[str, dict[str, Any]]:
        """The case's outputs by name."""
        return {spec["array"]: spec for spec in self.cases[case]["outputs"]}

    def check(self, case: str, array: str, got: Tensor) -> None:
        """Compares one output with what is stored of it."""
        spec = self.specs(case)[array]
        value: NDArray[Any] = got.detach().numpy()
        assert list(value.shape) == spec["shape"], array
        stored = self.arrays[array]
        if "mismatch_allowed" in spec:
            expected = np.unpackbits(stored)[: value.size].reshape(value.shape)
            assert np.mean(expected != value) <= spec["mismatch_allowed"], array
            return
        if "flat_index" in spec:
            value = value.ravel()[self.arrays[spec["flat_index"]]]
        difference = np.abs(value - stored)
        assert difference.max() <= spec["atol"], (array, difference.max())
        if "atol_p75" in spec:
            assert np.mean(difference <= spec["atol_p75"]) >= 0.75, array
