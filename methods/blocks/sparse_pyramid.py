"""HSNet's pyramid where the support's mask leaves most of a correlation zero.

A masked support is zero outside its mask, and so is every correlation with it: two thirds of the
volume on chest films. The volume is kept as the maps of those support positions that are not
trivial, position after position, [n, C, hq, wq]; all others hold one and the same vector. Group
normalisation over the whole volume is the statistics of what is there and, by formula, of what is
not. The numbers are those of `HPNLearner` up to rounding; `tests/methods/test_sparse_pyramid.py`
holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .conv4d import CenterPivotConv4d, Squeeze
from .groups import group_affine
from .hpn import HPNLearner, check_support_sizes
from .mixing import Mixing

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Volume:
    """A correlation [C, hq, wq, hs, ws] of one episode and one shot.

    Attributes:
        values: maps [n, C, hq, wq] of the support positions that are there.
        row: for each of the hs x ws positions its row in `values`, or -1.
        side: (hs, ws).
        rest: what all other positions hold at every query position, [C]; None for zero.
    """

    values: Tensor
    row: NDArray[np.int64]
    side: tuple[int, int]
    rest: Tensor | None = None


class SparsePyramid:
    """`HPNLearner.forward` without its zeros, for one episode and one shot at a time.

    Args:
        learner: whose parameters are read once, here; they must not change afterwards.
    """

    def __init__(self, learner: HPNLearner):
        self._learner = learner
        self._blocks = [_SparseSqueeze(block) for block in learner.blocks]
        self._middle = Mixing(learner.encoder_layer4to3)
        self._fine = Mixing(learner.encoder_layer3to2)

    def __call__(self, volumes: Sequence[Volume]) -> Tensor:
        """Coarse, middle and fine correlation -> logits [1, 2, 2h, 2w].

        Raises:
            CompositionError: for image sizes at which the three squeezed support sizes differ.
        """
        parts = [block(part) for block, part in zip(self._blocks, volumes, strict=True)]
        check_support_sizes([_as_dense(part) for part in parts])
        side = parts[0].side
        coarse, middle, fine = (_side_by_side(part.values) for part in parts)
        mixed = self._middle(_resized(coarse, middle) + middle, side)
        mixed = self._fine(_resized(mixed, fine) + fine, side)
        positions = side[0] * side[1]
        return self._learner.decode(mixed.unflatten(1, (positions, -1)).mean(1))


class _SparseSqueeze:
    """Three times [4D convolution, group normalisation, ReLU]."""

    def __init__(self, block: Squeeze):
        modules = list(block)
        self._layers = [
            (_Weights(cast("CenterPivotConv4d", convolution)), cast("nn.GroupNorm", norm))
            for convolution, norm in zip(modules[::3], modules[1::3], strict=True)
        ]

    def __call__(self, volume: Volume) -> Volume:
        for weights, norm in self._layers:
            volume = _activated(_convolved(volume, weights), weights.bias, norm)
        return volume


class _Weights:
    """A centre-pivot convolution's parameters as the products below want them.

    Attributes:
        over_query: kernel over the query dimensions [C', C, k, k].
        over_support: kernel over the support dimensions, one matrix per offset, [k*k, C, C'].
        bias: of both, [C'].
    """

    def __init__(self, convolution: CenterPivotConv4d):
        first, second = convolution.conv1, convolution.conv2
        assert first.bias is not None
        assert second.bias is not None
        self.over_query = first.weight.detach()
        self.over_support = second.weight.detach().flatten(2).permute(2, 1, 0).contiguous()
        self.bias = (first.bias + second.bias).detach()
        self.kernel = second.kernel_size[0]
        self.stride = convolution.stride


def _convolved(volume: Volume, weights: _Weights) -> Volume:
    """Both halves of the convolution, added, without bias.

    An output position exists where its window holds a row, or, if the rest is not zero, anywhere.
    """
    windows, side = _windows(volume.side, weights.kernel, weights.stride)
    rows = np.where(windows < 0, _NOWHERE, volume.row[windows])
    pivots = rows[:, weights.kernel**2 // 2]
    chosen = np.arange(len(rows)) if volume.rest is not None else np.flatnonzero((rows >= 0).any(1))
    row = np.full(len(rows), _NOWHERE, np.int64)
    row[chosen] = np.arange(len(chosen))
    size = volume.values.shape[-2:]
    out = volume.values.new_zeros((len(chosen), weights.over_query.shape[0], *size))
    _add_over_query(out, volume, pivots[chosen], weights)
    for index, window in enumerate(chosen):
        there = np.flatnonzero(rows[window] >= 0)
        if len(there):
            maps = volume.values[torch.from_numpy(rows[window, there])].flatten(0, 1)
            matrix = weights.over_support[torch.from_numpy(there)].flatten(0, 1)
            out[index].flatten(1).addmm_(matrix.t(), maps.flatten(1))
    if volume.rest is not None:
        absent = torch.from_numpy((windows >= 0) & (rows < 0)).to(out.dtype)
        share = torch.einsum("wk,kco,c->wo", absent, weights.over_support, volume.rest)
        out += share[:, :, None, None]
    return Volume(out, row, side)


def _add_over_query(out: Tensor, volume: Volume, pivots: NDArray[np.int64], w: _Weights) -> None:
    """Adds the convolution over the query dimensions of each window's centre."""
    there = np.flatnonzero(pivots >= 0)
    padding = w.kernel // 2
    if len(there):
        maps = volume.values[torch.from_numpy(pivots[there])]
        part = F.conv2d(maps, w.over_query, padding=padding)
        out.index_add_(0, torch.from_numpy(there), part)
    missing = np.flatnonzero(pivots < 0)
    if volume.rest is not None and len(missing):
        plane = volume.rest[None, :, None, None].expand(1, -1, *out.shape[-2:])
        out[torch.from_numpy(missing)] += F.conv2d(plane, w.over_query, padding=padding)


def _activated(volume: Volume, bias: Tensor, norm: nn.GroupNorm) -> Volume:
    """Bias, group normalisation over the whole volume, ReLU; in place."""
    values, positions = volume.values, len(volume.row)
    scale, shift = group_affine(values.flatten(2), bias, norm, positions)
    torch.addcmul(shift[:, None, None], values, scale[:, None, None], out=values).relu_()
    rest = shift.relu() if len(values) < positions else None
    return Volume(values, volume.row, volume.side, rest)


@lru_cache(maxsize=64)
def _windows(
    side: tuple[int, int], kernel: int, stride: int
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Positions [windows, k*k] under the kernel at each output position, -1 outside; their grid."""
    height, width = side
    offsets = np.arange(kernel) - kernel // 2
    ys = np.arange(0, height, stride)[:, None] + offsets
    xs = np.arange(0, width, stride)[:, None] + offsets
    y, x = ys[:, None, :, None], xs[None, :, None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    positions = np.where(inside, y * width + x, -1)
    return positions.reshape(len(ys) * len(xs), kernel**2), (len(ys), len(xs))


def _side_by_side(values: Tensor) -> Tensor:
    """[positions, C, h, w] -> [1, positions * C, h, w], channels last."""
    return values.flatten(0, 1)[None].contiguous(memory_format=torch.channels_last)


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)


def _as_dense(volume: Volume) -> Tensor:
    """A shape's bearer for `check_support_sizes`."""
    return volume.values.new_empty((0, 0, 0, 0, *volume.side))
