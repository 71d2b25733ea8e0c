"""DR-Adapter whose wide adapters are computed by their spectra on a CPU."""

from __future__ import annotations

from ..hosts.dra import DRA
from .spectra import Spectral, is_wide
from .ssp import FastSSP


class FastDRA(FastSSP, DRA):
    """Adapters by spectra, whose kernels are transformed once; matches as SSP does."""

    published_work = DRA.published_work

    def prepare(self, device: str) -> None:
        """On an accelerator the adapters stay as they are."""
        super().prepare(device)
        if not device.startswith("cpu"):
            return
        for adapter in self.adapters:
            for name, module in list(adapter.named_children()):
                if is_wide(module):
                    adapter.add_module(name, Spectral(module))
