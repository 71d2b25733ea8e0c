"""HSNet's squeezing and mixing blocks as ordinary convolutions, for a few support positions.

All support positions lie side by side as channels, a channel's positions together. A block of four
dimensions then is one of two: few calls, many supports in one batch, and torch's own gradients.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks.conv4d import CenterPivotConv4d, Squeeze

MOST_SIDE = 8
"""Of the support of a coarse correlation: of more than 8 x 8 positions more than one is left."""


class FlatSqueeze:
    """A `Squeeze` of maps [B, C * positions, h, w]; gradients flow through the maps alone.

    Args:
        block: whose parameters are read once, here.
        side: of the support, (hs, ws).
    """

    def __init__(self, block: Squeeze, side: tuple[int, int]):
        self._layers: list[_Layer] = []
        modules = list(block)
        for convolution, norm in zip(modules[::3], modules[1::3], strict=True):
            layer = _Layer(cast("CenterPivotConv4d", convolution), cast("nn.GroupNorm", norm), side)
            self._layers.append(layer)
            side = layer.left

    def __call__(self, maps: Tensor) -> Tensor:
        """[B, C * positions, h, w] -> [B, C' * positions', h, w]."""
        for layer in self._layers:
            maps = layer(maps)
        return maps


def flat(correlation: Tensor) -> Tensor:
    """[B, C, hq, wq, hs, ws] -> [B, C * hs * ws, hq, wq]."""
    return correlation.permute(0, 1, 4, 5, 2, 3).flatten(1, 3)


class _Layer:
    """A centre-pivot convolution, group normalisation and ReLU.

    Attributes:
        left: (hs, ws) behind it.
    """

    def __init__(self, convolution: CenterPivotConv4d, norm: nn.GroupNorm, side: tuple[int, int]):
        over_query, over_support = convolution.conv1, convolution.conv2
        assert over_query.bias is not None
        assert over_support.bias is not None
        weight = over_query.weight.detach()
        inside, positions = weight.shape[1], side[0] * side[1]
        unit = torch.eye(inside * positions, dtype=weight.dtype, device=weight.device)
        dense = F.conv2d(
            unit.view(-1, inside, *side),
            over_support.weight.detach(),
            stride=over_support.stride,
            padding=over_support.padding,
        )
        self.left = (dense.shape[-2], dense.shape[-1])
        stride = convolution.stride
        pivots = unit[:positions, :positions].view(positions, *side)[:, ::stride, ::stride]
        kernel = torch.einsum("ocyx,pq->oqcpyx", weight, pivots.flatten(1))
        kernel = kernel.flatten(2, 3).flatten(0, 1).contiguous()
        centre = weight.shape[-1] // 2
        kernel[:, :, centre, centre] += dense.flatten(1).T
        self._kernel, self._padding = kernel, centre
        many = self.left[0] * self.left[1]
        bias = (over_query.bias + over_support.bias).detach()
        self._bias, self._scale, self._shift = (
            values.detach().repeat_interleave(many) for values in (bias, norm.weight, norm.bias)
        )
        self._groups, self._eps = norm.num_groups, norm.eps

    def __call__(self, maps: Tensor) -> Tensor:
        found = F.conv2d(maps, self._kernel, self._bias, padding=self._padding)
        return F.group_norm(found, self._groups, self._scale, self._shift, self._eps).relu_()
