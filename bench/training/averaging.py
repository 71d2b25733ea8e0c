"""Exponential moving averages of what is trained."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Averaged(AveragedModel):
    """The moving average of a network's trained parameters, which takes their place to be asked.

    Frozen parameters and all buffers are the network's own.

    Args:
        network: whose parameters are averaged.
        decay: what the average keeps of itself at each step.
    """

    def __init__(self, network: nn.Module, decay: float):
        trained = nn.ParameterList(p for p in network.parameters() if p.requires_grad)
        super().__init__(trained, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.requires_grad_(requires_grad=False)
        self._trained = [trained]  # in a list, so that the average's state is its own alone

    def update(self) -> None:
        """Takes in the parameters after a step; the first step's are the first average."""
        self.update_parameters(self._trained[0])

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Puts the average into the network for the time of a block."""
        live = [p.detach().clone() for p in self._trained[0]]
        self._set(list(self.module.parameters()))
        try:
            yield
        finally:
            self._set(live)

    @torch.no_grad()
    def _set(self, values: list[nn.Parameter] | list[torch.Tensor]) -> None:
        for parameter, value in zip(self._trained[0], values, strict=True):
            parameter.copy_(value)
