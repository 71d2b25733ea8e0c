"""Reading the reference vectors: what is stored, what of an output it is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Vectors:
    """One .npz of `hsnet_patnet_apm.json`, its cases by id."""

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        manifest = json.loads((folder / "hsnet_patnet_apm.json").read_text())
        self.cases: dict[str, dict[str, Any]] = {
            case["id"]: case for case in manifest["files"][name]["cases"]
        }
        self.arrays: Mapping[str, Any] = np.load(folder / name)
        self._fill = fill

    def inputs(self, case: str) -> dict[str, Tensor]:
        """The case's inputs by name."""
        return {
            spec["name"]: self.input(spec["name"], spec["shape"], spec["kind"])
            for spec in self.cases[case]["inputs"]
        }

    def input(self, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self._fill.array(name, tuple(shape), 0, kind))

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
        if "atol" in spec:
            np.testing.assert_allclose(value, stored, rtol=0, atol=spec["atol"], err_msg=array)
        else:
            np.testing.assert_array_equal(value, stored, err_msg=array)


class Scenes:
    """One .npz of `ssp_dra_ifa.json`, with its scenes."""

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        manifest = json.loads((folder / "ssp_dra_ifa.json").read_text())
        self.spec: dict[str, Any] = next(f for f in manifest["files"] if f["file"] == name)
        self.arrays: Mapping[str, Any] = np.load(folder / name)
        self._fill = fill

    def array(self, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self._fill.array(name, tuple(shape), 0, kind))

    def scene(
        self, name: str, cls: str, batch: int, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """(image [B, 3, H, W], mask [B, H, W]) as the manifest words it."""
        mask = self.array(f"{name}.mask", (batch, height, width), "mask")
        noise = self.array(f"{name}.noise", (batch, 3, height, width))
        fore = self.array(f"{cls}.fg", (3,))[None, :, None, None]
        back = self.array(f"{cls}.bg", (3,))[None, :, None, None]
        return 0.5 * noise + mask[:, None] * fore + (1 - mask[:, None]) * back, mask

    def episode(self, case: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query [B, 3, H, W], its mask [B, H, W], supports [B, K, 3, H, W], masks [B, K, H, W]."""
        spec = self.spec["inputs"][case]
        batch, _, height, width = spec["shape"]
        query, query_mask = self.scene(spec["query"], spec["cls"], batch, height, width)
        pairs = [self.scene(n, spec["cls"], batch, height, width) for n in spec["supports"]]
        images = torch.stack([image for image, _ in pairs], dim=1)
        return query, query_mask, images, torch.stack([mask for _, mask in pairs], dim=1)

    def check(self, array: str, got: Tensor) -> None:
        """Compares one output with what is stored of it, at the stored tolerance."""
        spec = self.spec["outputs"][array]
        value: NDArray[Any] = got.detach().numpy()
        assert list(value.shape) == spec["shape"], array
        stored = self.arrays[array]
        if f"{array}__idx" in self.arrays:
            value = value.ravel()[self.arrays[f"{array}__idx"]]
        if "rel_l2" in spec:
            difference = np.linalg.norm(value - stored) / np.linalg.norm(stored)
            assert difference <= spec["rel_l2"], array
        else:
            np.testing.assert_allclose(
                value, stored, rtol=spec.get("rtol", 0), atol=spec.get("atol", 0), err_msg=array
            )
