"""The reference vectors of 2024-2026 (`reference/new`), and DINO backbones filled as they state."""

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

from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.backbones.transformer import Transformer


class NewVectors:
    """One .npz of `new/vectors.json`, its cases by id.

    Args:
        folder: `reference/new`.
        name: of the .npz.
        fill: the module that makes inputs.
    """

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        manifest = json.loads((folder / "vectors.json").read_text())
        self.seed: int = manifest["seed"]
        self.cases: dict[str, dict[str, Any]] = {
            case["id"]: case for case in manifest["files"][name]["cases"]
        }
        self.arrays: Mapping[str, Any] = np.load(folder / name)
        self._fill = fill

    def input(self, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self._fill.array(name, tuple(shape), self.seed, kind))

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
        for share in (75, 99):
            if (atol := spec.get(f"atol_p{share}")) is not None:
                assert np.percentile(np.abs(value - stored), share) <= atol, array


def filled_dino(name: str, fill: ModuleType, *, seed: int = 0) -> Transformer:
    """The DINO backbone of that card name with the parameters that `vectors.json` states."""
    with torch.device("meta"):
        net = build_backbone(name)
    assert isinstance(net, Transformer)
    return fill_dino(net.to_empty(device="cpu"), fill, seed=seed)


def fill_dino(net: Transformer, fill: ModuleType, *, seed: int = 0) -> Transformer:
    """`net`, a DINO of any size, with the parameters that `vectors.json` states."""
    fill.fill(net, seed)
    state = net.state_dict()
    for key, stored in state.items():
        scale = {"pos_embed": 0.5, "cls_token": 1, "register_tokens": 1, "storage_tokens": 1}
        if key in scale:
            drawn = torch.from_numpy(fill.array(key, tuple(stored.shape), seed))
            state[key] = scale[key] * drawn
        elif key == "rope_embed.periods":
            steps = torch.arange(len(stored))
            state[key] = 100 ** (2 * steps / (2 * len(stored)))
        elif key.endswith("bias_mask"):
            mask = torch.ones(3, len(stored) // 3)
            mask[1] = 0
            state[key] = mask.flatten()
    net.load_state_dict(state)
    return net
