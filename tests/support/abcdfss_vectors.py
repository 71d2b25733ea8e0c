"""Reading `abcdfss.npz`: inputs as its manifest words them, comparison at the stored tolerances."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NAME = "abcdfss.npz"


class Cases:
    """The cases of the file by id, with the arrays."""

    def __init__(self, folder: Path, fill: ModuleType):
        manifest = json.loads((folder / "vectors.json").read_text())
        cases = manifest["files"][NAME]["cases"]
        self.by_id: dict[str, dict[str, Any]] = {case["id"]: case for case in cases}
        self.arrays: Mapping[str, Any] = np.load(folder / NAME)
        self.fill = fill
        self.seed: int = manifest["seed"]

    def array(self, name: str, shape: tuple[int, ...], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self.fill.array(name, shape, self.seed, kind))

    def images(self, spec: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] and masks [n, H, W] of the recipe `episode`."""
        name, count, size = spec["N"], spec["n"], (spec["H"], spec["W"])
        mask = self.array(f"{name}.mask", (count, *size), "mask")
        tone = self.array(f"{name.partition('/')[0]}.tone", (3, 1, 1))
        tone = tone / tone.square().mean().sqrt()
        image = self.array(f"{name}.image", (count, 3, *size))
        image = image + spec["gain"] * tone * mask[:, None]
        replaced = str(spec.get("mask", "")).startswith("replaced by zeros")
        return image, torch.zeros_like(mask) if replaced else mask

    def specs(self, case: str) -> dict[str, dict[str, Any]]:
        """The case's outputs by name."""
        return {spec["array"]: spec for spec in self.by_id[case]["outputs"]}

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
