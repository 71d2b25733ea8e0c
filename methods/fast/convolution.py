"""Convolutions of maps that lie channels last, as oneDNN computes them."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .linear import applied


class Convolution3x3:
    """A padded 3x3 convolution of every group of channels.

    Gradients flow through the maps, not to the weight.

    Args:
        weight: [C', C, 3, 3], read once, here.
        groups: blocks of C channels that lie side by side; the weight is that of each.
    """

    def __init__(self, weight: Tensor, *, groups: int = 1):
        self._weight = weight.detach().clone()
        self._groups = groups

    def __call__(self, maps: Tensor) -> Tensor:
        """[B, groups * C, h, w] -> [B, groups * C', h, w], channels last."""
        return applied(self._there, self._back, maps)

    @cached_property
    def transposed(self) -> Convolution3x3:
        """What a gradient goes back through: the kernel turned by half a circle."""
        return Convolution3x3(self._weight.transpose(0, 1).flip(2, 3), groups=self._groups)

    @cached_property
    def _repeated(self) -> Tensor:
        many = self._weight.repeat(self._groups, 1, 1, 1)
        return many.contiguous(memory_format=torch.channels_last)

    def _there(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self._repeated, padding=1, groups=self._groups)

    def _back(self, maps: Tensor) -> Tensor:
        return self.transposed(maps)


def pointwise(
    maps: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1
) -> Tensor:
    """A 1x1 convolution [B, C, h, w] -> [B, C', h, w] with a weight [C', C / groups, 1, 1]."""
    # The dilation of a single tap means nothing, but keeps torch from its own slower kernel, which
    # it prefers where it has one thread.
    return F.conv2d(maps, weight, bias, dilation=2, groups=groups)
