"""Copies from the host's memory to a device, for which the host does not wait."""

from __future__ import annotations

import torch
from torch import Tensor

_PINNING = ("cuda", "xpu")
"""Devices that read pinned memory while the host goes on."""


def onto(held: Tensor, device: torch.device | str) -> Tensor:
    """`held` on `device`: itself on a CPU, else a copy for which the host does not wait.

    A GPU reads memory that cannot be moved, which torch keeps until it is read.

    Args:
        held: a tensor of the host, which nobody changes later.
        device: where it is to be.
    """
    kind = torch.device(device).type
    if kind in _PINNING:
        held = held.pin_memory()
    # MPS would read the host's memory later, when it may be gone.
    return held.to(device, non_blocking=kind != "mps")
