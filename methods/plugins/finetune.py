"""The plainest adaptation, a control row: the trained head goes on learning on the support."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..core.plugin_api import HeadPlugin, PluginHost


class Finetune(HeadPlugin):
    """Every parameter of the host beside its backbone learns to predict each support from itself.

    What a method that adapts adds must show against this: APM's own Table 5 has full fine-tuning
    at +27 points on chest films.

    Options: see `finetune.yaml`.
    """

    def __init__(self, *, steps: int = 60, lr: float = 1e-3):
        super().__init__(steps=steps, lr=lr)

    def learned(self, host: PluginHost) -> Sequence[Tensor]:
        """The host's head."""
        return host.head()
