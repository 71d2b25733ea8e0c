"""Reading `new/sam.json`: parameters and inputs of a case, and its stored outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdfss_bench.methods.backbones.sam import SAM, SAMPlan

from .vectors import StoredVectors

REDUCED = SAMPlan(96, 4, 4, (1, 3))
"""The encoder of most cases; `side` differs."""


class SAMVectors(StoredVectors):
    """One .npz of `sam.json`, its cases by id; outputs are named without their case."""

    manifest = "sam.json"

    def inputs(self, case: str) -> list[Tensor]:
        """The case's drawn inputs, in order."""
        specs = self.cases[case]["inputs"]
        return [self.input(s["name"], s["shape"], s["kind"]) for s in specs if "kind" in s]

    def value(self, case: str, array: str) -> Any:
        """The literal value beside a stored output."""
        return self.output(case, array)["value"]

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
            drawn = self.fill.array(own["name"], shape, self.seed, own["kind"])
            return torch.from_numpy(np.float32(own["scale"]) * drawn)
        drawn = self.fill.value(key, shape, self.seed)
        return torch.from_numpy(np.float32(spec.get("scale", {}).get(key, 1.0)) * drawn)

    def output(self, case: str, array: str) -> dict[str, Any]:
        """What the manifest says of one output."""
        return super().output(case, f"{case}.{array}")


OpenSAM = Callable[[str], SAMVectors]


def freed(network: nn.Module) -> nn.Module:
    """`network` without gradients of its parameters."""
    return network.requires_grad_(requires_grad=False)
