"""Reading `new/sam.json`: parameters and inputs of a case, and its stored outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cdfss_bench.methods.backbones.sam import SAM, SAMPlan

REDUCED = SAMPlan(96, 4, 4, (1, 3))
"""The encoder of most cases; `side` differs."""


class SAMVectors:
    """One .npz of `sam.json`, its cases by id."""

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        manifest = json.loads((folder / "sam.json").read_text())
        self.seed: int = manifest["seed"]
        self.cases: dict[str, dict[str, Any]] = {
            case["id"]: case for case in manifest["files"][name]["cases"]
        }
        self.arrays: Mapping[str, Any] = np.load(folder / name)
        self._fill = fill

    def array(self, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self._fill.array(name, tuple(shape), self.seed, kind))

    def inputs(self, case: str) -> list[Tensor]:
        """The case's drawn inputs, in order."""
        specs = self.cases[case]["inputs"]
        return [self.array(s["name"], s["shape"], s["kind"]) for s in specs if "kind" in s]

    def value(self, case: str, array: str) -> Any:
        """The literal value beside a stored output."""
        return self._output(case, array)["value"]

    def outputs(self, case: str) -> list[str]:
        """Names of the case's outputs, without the case's own."""
        return [spec["array"].removeprefix(f"{case}.") for spec in self.cases[case]["outputs"]]

    def filled(self, case: str, network: SAM) -> SAM:
        """`network` with the case's parameters."""
        spec = self.cases[case]
        state: dict[str, Tensor] = {}
        for key, tensor in network.state_dict().items():
            state[key] = self._parameter(spec, key, tuple(tensor.shape))
        network.load_state_dict(state)
        return network.eval()

    def _parameter(self, spec: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Tensor:
        if key in spec.get("overrides", {}):
            return torch.tensor(spec["overrides"][key], dtype=torch.float32).reshape(shape)
        own = spec.get("set", {}).get(key)
        if own is not None:
            drawn = self._fill.array(own["name"], shape, self.seed, own["kind"])
            return torch.from_numpy(np.float32(own["scale"]) * drawn)
        drawn = self._fill.value(key, shape, self.seed)
        return torch.from_numpy(np.float32(spec.get("scale", {}).get(key, 1.0)) * drawn)

    def check(self, case: str, array: str, got: Tensor) -> None:
        """Compares one output with what is stored of it, at the stored tolerance."""
        spec = self._output(case, array)
        value: NDArray[Any] = got.detach().cpu().numpy()
        assert list(value.shape) == spec["shape"], array
        stored = self.arrays[spec["array"]]
        if "flat_index" in spec:
            value = value.ravel()[self.arrays[spec["flat_index"]]]
        elif spec["stored"] != "whole":
            expected = np.unpackbits(stored)[: value.size].reshape(value.shape)
            assert np.mean(expected != value) <= spec["mismatch_allowed"], array
            return
        np.testing.assert_allclose(value, stored, rtol=0, atol=spec["atol"], err_msg=array)

    def _output(self, case: str, array: str) -> dict[str, Any]:
        return next(o for o in self.cases[case]["outputs"] if o["array"] == f"{case}.{array}")


OpenSAM = Callable[[str], SAMVectors]


def freed(network: nn.Module) -> nn.Module:
    """`network` without gradients of its parameters."""
    return network.requires_grad_(requires_grad=False)
