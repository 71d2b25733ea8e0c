"""What torch offers for an accelerator: waiting for it, its clock, its memory and its name."""

from __future__ import annotations

from typing import Any


def accelerator(device: str) -> Any:
    """`torch.cuda`, or the module of another device that offers the same.

    None on a CPU, and on a device that does not tell how much memory it gave (`mps`): it is timed
    and asked for memory as a CPU is.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `xpu`.
    """
    import torch

    if torch.device(device).type == "cpu":
        return None
    module = torch.get_device_module(torch.device(device))
    return module if hasattr(module, "max_memory_allocated") else None
