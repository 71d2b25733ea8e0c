"""Reading the reference vectors of the methods of 2024 to 2026: `new/vectors.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


class NewerVectors:
    """One .npz of `new/`, its cases by id.

    Args:
        folder: `reference` of the shared material.
        name: of the .npz.
        fill: `fill.py`.
    """

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        manifest = json.loads((folder / "new" / "vectors.json").read_text())
        self.cases: dict[str, dict[str, Any]] = {
            case["id"]: case for case in manifest["files"][name]["cases"]
        }
        self.arrays: Mapping[str, Any] = np.load(folder / "new" / name)
        self.fill = fill

    def array(self, case: str, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input of a case."""
        seed = self.cases[case]["seed"]
        return torch.from_numpy(self.fill.array(name, tuple(shape), seed, kind))

    def episode(self, case: str, recipe: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] and masks [n, H, W] by the recipe `episode`."""
        name, count, height, width = (recipe[key] for key in ("N", "n", "H", "W"))
        images = self.array(case, f"{name}.image", (count, 3, height, width))
        masks = self.array(case, f"{name}.mask", (count, height, width), "mask")
        tone = self.array(case, f"{name.partition('/')[0]}.tone", (3, 1, 1))
        tone = tone / tone.square().mean().sqrt()
        return images + recipe["gain"] * tone * masks[:, None], masks

    def tokens(self, case: str, recipe: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps [K+1, C, h, w], masks [K+1, 8h, 8w], black map [C, h, w] of the recipe `tokens`."""
        name, shots, channels, height, width = (recipe[key] for key in ("N", "K", "C", "h", "w"))
        masks = self.array(case, f"{name}.mask", (shots + 1, 8 * height, 8 * width), "mask")
        basis = self.array(case, f"{name}.basis", (6, channels))
        low = F.avg_pool2d(masks[:, None], 8)
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
        quarter = 2 * (2 * rows // height) + 2 * columns // width
        own = basis[1 + quarter].permute(2, 0, 1)
        noise = self.array(case, f"{name}.tokens", (shots + 1, channels, height, width))
        fore, common = basis[0][:, None, None], basis[5][:, None, None]
        maps = noise + (1 - low) * own + 1.4 * low * fore + 0.5 * common
        black = self.array(case, f"{name}.black", (1, channels, height, width))[0]
        return maps, masks, black

    def has(self, case: str, array: str) -> bool:
        """Whether a case stores that output."""
        return any(o["array"] == array for o in self.cases[case]["outputs"])

    def check(self, case: str, array: str, got: Tensor) -> None:
        """Compares one output with what is stored of it, at the stored tolerance."""
        spec = next(o for o in self.cases[case]["outputs"] if o["array"] == array)
        value: NDArray[Any] = got.detach().numpy()
        assert list(value.shape) == spec["shape"], array
        stored = self.arrays[array]
        if "flat_index" in spec:
            value = value.ravel()[self.arrays[spec["flat_index"]]]
        elif spec["stored"] != "whole":
            expected = np.unpackbits(stored)[: value.size].reshape(value.shape)
            assert np.mean(expected != value) <= spec["mismatch_allowed"], array
            return
        if "atol" not in spec:
            np.testing.assert_array_equal(value, stored, err_msg=array)
            return
        np.testing.assert_allclose(value, stored, rtol=0, atol=spec["atol"], err_msg=array)
