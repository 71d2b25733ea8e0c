"""A centre-pivot convolution of stride 1 where little is left of the support.

All its positions lie side by side as channels, [1, positions * C, h, w]. The kernel over the query
dimensions then is a grouped convolution, and the padded 3x3 kernel over the support dimensions one
dense matrix, without a copy between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..blocks.conv4d import CenterPivotConv4d
from .convolution import Convolution3x3, pointwise
from .linear import applied


class SmallSupport:
    """`CenterPivotConv4d` without its bias; gradients flow through the maps, not to parameters.

    Args:
        convolution: 3x3 and of stride 1; its parameters are read once, here.
        side: what is left of the support, (hs, ws).

    Attributes:
        positions: hs * ws.
    """

    def __init__(self, convolution: CenterPivotConv4d, side: tuple[int, int]):
        self._query = convolution.conv1.weight.detach().clone()
        self._support = convolution.conv2.weight.detach().clone()
        self._side = side
        self.positions = side[0] * side[1]
        self._there = _Sum(self._query, self._support, side)

    def __call__(self, maps: Tensor) -> Tensor:
        """[1, positions * C, h, w] -> [1, positions * C', h, w], both channels last."""
        return applied(self._there, self._transposed, maps)

    @property
    def over_query(self) -> Tensor:
        """The grouped kernel [positions * C', C, 3, 3]."""
        return self._query.repeat(self.positions, 1, 1, 1)

    @property
    def over_support(self) -> Tensor:
        """The dense kernel [positions * C', positions * C, 1, 1]."""
        return dense_kernel(self._support, self._side)

    def _transposed(self, maps: Tensor) -> Tensor:
        return self._back(maps)

    @cached_property
    def _back(self) -> _Sum:
        """A padded convolution's transpose is one with its kernel turned by half a circle."""
        query, support = (
            kernel.transpose(0, 1).flip(2, 3) for kernel in (self._query, self._support)
        )
        return _Sum(query, support, self._side)


class _Sum:
    """A kernel over the query dimensions and one over the support dimensions, results added."""

    def __init__(self, query: Tensor, support: Tensor, side: tuple[int, int]):
        positions = side[0] * side[1]
        self._over_query = Convolution3x3(query, groups=positions)
        self._over_support = dense_kernel(support, side)

    def __call__(self, maps: Tensor) -> Tensor:
        out = self._over_query(maps)
        out += pointwise(maps, self._over_support)
        return out


def dense_kernel(kernel: Tensor, side: tuple[int, int]) -> Tensor:
    """A padded 3x3 kernel [C', C, 3, 3] over `side` as [positions * C', positions * C, 1, 1]."""
    height, width = side
    bands = [_band(kernel[:, :, row], width) for row in range(3)]
    return _banded(bands, height)[..., None, None]


def _band(kernel: Tensor, width: int) -> Tensor:
    """A row [C', C, 3] of the kernel as a matrix [width * C', width * C]."""
    return _banded(list(kernel.unbind(2)), width)


def _banded(bands: Sequence[Tensor], size: int) -> Tensor:
    """Block (i, j) of size x size is band j - i + 1, or zero."""
    nothing = torch.zeros_like(bands[0])
    rows = [
        torch.cat([bands[j - i + 1] if abs(j - i) < 2 else nothing for j in range(size)], dim=1)
        for i in range(size)
    ]
    return torch.cat(rows)
