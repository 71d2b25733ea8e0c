"""HSNet's mixing blocks on what is left of the support: one position, or two by two.

All positions lie side by side as channels, [1, positions * C, h, w]. The convolution over the
support dimensions, padded 3x3 on 2x2 maps, then is one dense matrix, and the one over the query
dimensions a grouped convolution: 1.3 GFLOP instead of 3 at 50 x 50, and no copy between the layers.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv4d import CenterPivotConv4d, Squeeze
from .groups import affine_of_sums


class Mixing:
    """A `Squeeze` of stride 1, for inference.

    Args:
        block: whose parameters are read once, here; they must not change afterwards.
    """

    def __init__(self, block: Squeeze):
        modules = list(block)
        self._layers = [
            (cast("CenterPivotConv4d", convolution), cast("nn.GroupNorm", norm))
            for convolution, norm in zip(modules[::3], modules[1::3], strict=True)
        ]
        self._prepared: dict[tuple[int, int], list[_Layer]] = {}

    def __call__(self, maps: Tensor, side: tuple[int, int]) -> Tensor:
        """[1, positions * C, h, w], channels last, of the same; `side` is what is left."""
        if side not in self._prepared:
            self._prepared[side] = [_Layer(c, norm, side) for c, norm in self._layers]
        for layer in self._prepared[side]:
            maps = layer(maps)
        return maps


class _Layer:
    def __init__(self, convolution: CenterPivotConv4d, norm: nn.GroupNorm, side: tuple[int, int]):
        first, second = convolution.conv1, convolution.conv2
        assert first.bias is not None
        assert second.bias is not None
        self.positions = side[0] * side[1]
        self.bias = (first.bias + second.bias).detach()
        self.norm = norm
        grouped = first.weight.detach().repeat(self.positions, 1, 1, 1)
        self.over_query = grouped.contiguous(memory_format=torch.channels_last)
        self.over_support = _dense(second.weight.detach(), side)[:, :, None, None]

    def __call__(self, maps: Tensor) -> Tensor:
        out = F.conv2d(maps, self.over_query, padding=1, groups=self.positions)
        out += F.conv2d(maps, self.over_support)
        rows = out.permute(0, 2, 3, 1).flatten(0, 2)
        sums, squares = (
            part.double().view(self.positions, -1).sum(0)
            for part in (rows.sum(0), rows.square().sum(0))
        )
        count = self.positions * len(rows)
        scale, shift = (
            part.repeat(self.positions)
            for part in affine_of_sums(sums, squares, self.bias, self.norm, count)
        )
        torch.addcmul(shift, rows, scale, out=rows).relu_()
        return rows.view(1, *out.shape[-2:], -1).permute(0, 3, 1, 2)


def _dense(kernel: Tensor, side: tuple[int, int]) -> Tensor:
    """A padded 3x3 convolution of [C, C', side] as a matrix [positions * C', positions * C]."""
    height, width = side
    places = [(y, x) for y in range(height) for x in range(width)]

    def between(out: tuple[int, int], inside: tuple[int, int]) -> Tensor:
        dy, dx = inside[0] - out[0] + 1, inside[1] - out[1] + 1
        near = 0 <= dy < 3 and 0 <= dx < 3
        return kernel[:, :, dy, dx] if near else torch.zeros_like(kernel[:, :, 0, 0])

    rows = [torch.cat([between(out, inside) for inside in places], dim=1) for out in places]
    return torch.cat(rows)
