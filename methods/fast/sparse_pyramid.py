"""HSNet's pyramid where the support's mask leaves most of a correlation zero.

A masked support is zero outside its mask, and so is every correlation with it: two thirds of the
volume on chest films. The volume is kept as the maps of those support positions that are not
trivial, position after position, [n, C, hq, wq]; all others hold one and the same vector. Group
normalisation over the whole volume is the statistics of what is there and, by formula, of what is
not. The numbers are those of `HPNLearner` up to rounding; `tests/methods/fast/test_fast_forms.py`
holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..blocks.conv4d import CenterPivotConv4d, Squeeze
from ..blocks.hpn import HPNLearner
from .decoding import Decoder
from .groups import group_affine
from .mixing import Mixer, Part
from .windows import runs, windows_of

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
        self.decode = Decoder(learner)
        self._blocks = [_SparseSqueeze(block) for block in learner.blocks]
        self.mixer = Mixer(learner)

    def __call__(self, volumes: Sequence[Volume]) -> Tensor:
        """Coarse, middle and fine correlation -> logits [1, 2, 2h, 2w].

        Raises:
            CompositionError: for image sizes at which the three squeezed support sizes differ.
        """
        parts = [self.squeezed(number, volume) for number, volume in enumerate(volumes)]
        return self.decode(self.mixer(parts))

    def squeezed(self, number: int, volume: Volume) -> Part:
        """What the coarse (0), middle (1) or fine (2) correlation is squeezed to."""
        found = self._blocks[number](volume)
        return Part(_side_by_side(found.values), found.side)


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
        over_support: kernel over the support dimensions, offset after offset, [C', k*k * C].
        bias: of both, [C'].
    """

    def __init__(self, convolution: CenterPivotConv4d):
        first, second = convolution.conv1, convolution.conv2
        assert first.bias is not None
        assert second.bias is not None
        self.over_query = first.weight.detach()
        self.over_support = second.weight.detach().permute(0, 2, 3, 1).flatten(1).contiguous()
        self.bias = (first.bias + second.bias).detach()
        self.kernel = second.kernel_size[0]
        self.stride = convolution.stride


def _convolved(volume: Volume, weights: _Weights) -> Volume:
    """Both halves of the convolution, added, without bias.

    An output position exists where its window holds a row, or, if the rest is not zero, anywhere.
    """
    windows, side = windows_of(volume.side, weights.kernel, weights.stride)
    rows = np.where(windows < 0, _NOWHERE, volume.row[windows])
    pivots = rows[:, weights.kernel**2 // 2]
    chosen = np.arange(len(rows)) if volume.rest is not None else np.flatnonzero((rows >= 0).any(1))
    row = np.full(len(rows), _NOWHERE, np.int64)
    row[chosen] = np.arange(len(chosen))
    out = _over_query(volume, pivots[chosen], weights)
    targets = out.flatten(2).unbind()
    maps = volume.values.flatten(0, 1).flatten(1)
    inside = volume.values.shape[1]
    for target, offset, first, length in runs(rows[chosen]):
        matrix = weights.over_support[:, offset * inside : (offset + length) * inside]
        targets[target].addmm_(matrix, maps[first * inside : (first + length) * inside])
    if volume.rest is not None:
        absent = torch.from_numpy((windows >= 0) & (rows < 0)).to(out.dtype)
        kernel = weights.over_support.unflatten(1, (-1, inside))
        share = torch.einsum("wk,okc,c->wo", absent, kernel, volume.rest)
        out += share[:, :, None, None]
    return Volume(out, row, side)


def _over_query(volume: Volume, pivots: NDArray[np.int64], weights: _Weights) -> Tensor:
    """The convolution over the query dimensions of each window's centre, [windows, C', hq, wq]."""
    there = np.flatnonzero(pivots >= 0)
    padding = weights.kernel // 2
    maps = volume.values[torch.from_numpy(pivots[there])]
    part = F.conv2d(maps, weights.over_query, padding=padding)
    if len(there) == len(pivots):
        return part
    out = part.new_zeros((len(pivots), *part.shape[1:]))
    out[torch.from_numpy(there)] = part
    if volume.rest is not None:
        plane = volume.rest[None, :, None, None].expand(1, -1, *part.shape[-2:])
        missing = torch.from_numpy(np.flatnonzero(pivots < 0))
        out[missing] = F.conv2d(plane, weights.over_query, padding=padding)
    return out


def _activated(volume: Volume, bias: Tensor, norm: nn.GroupNorm) -> Volume:
    """Bias, group normalisation over the whole volume, ReLU; in place."""
    values, positions = volume.values, len(volume.row)
    scale, shift = group_affine(values.flatten(2), bias, norm, positions)
    torch.addcmul(shift[:, None, None], values, scale[:, None, None], out=values).relu_()
    rest = shift.relu() if len(values) < positions else None
    return Volume(values, volume.row, volume.side, rest)


def _side_by_side(values: Tensor) -> Tensor:
    """[positions, C, h, w] -> [1, positions * C, h, w], channels last."""
    return values.flatten(0, 1)[None].contiguous(memory_format=torch.channels_last)
