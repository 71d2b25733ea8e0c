"""3x3 convolutions as source training runs them on a CPU: Winograd's tiles, with all gradients.

A tile of 4 x 4 results needs 36 products of channels, not 144. Its transforms are linear, so the
way back is their transposes, and it uses the factors of the way there. The points are chosen for
small rounding: in float32 6e-7 of the results' standard deviation and 1e-6 of the gradients', where
direct sums of 256 channels have 1e-7 and 2e-7 to 5e-7.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

_Place = tuple[slice, slice, slice]
_KERNEL = 3
_SIDE = 4
"""Of a tile of results, in positions."""
_MORE = _KERNEL - 1
"""Positions by which what a tile depends on is wider."""
_POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
"""Where polynomials are evaluated, beside infinity; 0, 1, -1, 2, -2 would double the rounding."""


def tiled_convolution(x: Tensor, weight: Tensor, bias: Tensor, dilation: int = 1) -> Tensor:
    """A 3x3 convolution of stride 1, [N, C, h, w] -> [N, C', h, w], whose padding is its dilation.

    Args:
        x: fastest where it lies channels last.
        weight: [C', C, 3, 3].
        bias: [C'].
        dilation: of the kernel.
    """
    return cast("Tensor", _Tiled.apply(x, weight, bias, dilation))


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ways, grid = _transforms(x.dtype), _Grid(x.shape[-2], x.shape[-1], dilation)
        kernels = (ways.kernel @ weight.reshape(-1, _KERNEL**2).t()).unflatten(1, weight.shape[:2])
        seen = _through(ways.seen, grid.seen(grid.filled(x)))
        found = _through(ways.result, torch.bmm(seen, kernels.mT))
        maps = grid.empty(x, len(bias))
        tiles = grid.results(maps)
        torch.add(found.view(tiles.shape), bias, out=tiles)
        ctx.save_for_backward(seen, kernels)
        ctx.grid = grid
        return grid.cut(maps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (seen, kernels), grid, (grad,) = ctx.saved_tensors, ctx.grid, grads
        ways = _transforms(grad.dtype)
        slopes = _through(ways.result.t(), grid.results(grid.filled(grad)))
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            tiles = _through(ways.seen.t(), torch.bmm(slopes, kernels))
            to_x = grid.cut(grid.summed(tiles, grad))
        if ctx.needs_input_grad[1]:
            flat = ways.kernel.t() @ torch.bmm(slopes.mT, seen).flatten(1)
            to_weight = flat.t().reshape(*kernels.shape[1:], _KERNEL, _KERNEL)
        if ctx.needs_input_grad[2]:
            to_bias = grad.sum((0, 2, 3))
        return to_x, to_weight, to_bias, None


class _Transforms(NamedTuple):
    """Of kernels and tiles, whose positions are one dimension.

    Attributes:
        kernel: [36, 9] of kernels.
        seen: [36, 36] of what tiles of results depend on.
        result: [16, 36] from products to results.
    """

    kernel: Tensor
    seen: Tensor
    result: Tensor


@cache
def _transforms(dtype: torch.dtype) -> _Transforms:
    """Toom's product of polynomials, transposed (Lavin and Gray, CVPR 2016).

    A product of polynomials with 4 and 3 coefficients is known from its values at 6 points, one of
    them infinity; transposed, it is the correlation of 6 positions with 3. Of a point's three
    factors none is longer than another.
    """
    points = torch.tensor(_POINTS, dtype=torch.float64)

    def values(count: int) -> Tensor:
        at_infinity = torch.eye(count, dtype=torch.float64)[-1:]
        return torch.cat([torch.vander(points, count, increasing=True), at_infinity])

    whole = torch.linalg.inv(values(_SIDE + _MORE)).t()
    parts = (values(_KERNEL), whole, values(_SIDE))
    lengths = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts])
    factors = lengths.log().mean(0).exp() / lengths
    scaled = (part * factor[:, None] for part, factor in zip(parts, factors, strict=True))
    kernel, seen, result = (torch.kron(part, part).to(dtype) for part in scaled)
    return _Transforms(kernel, seen, result.t().contiguous())


def _through(transform: Tensor, tiles: Tensor) -> Tensor:
    """Tiles of m positions, [..., C] of m * T rows, as [n, T, C] by `transform` [n, m]."""
    found = transform @ tiles.reshape(transform.shape[1], -1)
    return found.view(len(transform), -1, tiles.shape[-1])


class _Grid(NamedTuple):
    """Tiles on maps [N, H, W, C] in which the kernel is dense.

    A dilated kernel sees every `step`-th row. These lie side by side, with a row of zeros before
    each such part and behind the last; so do the columns.

    Attributes:
        height: of the maps as they are.
        width: likewise.
        step: the dilation.
    """

    height: int
    width: int
    step: int

    def empty(self, like: Tensor, channels: int) -> Tensor:
        """Such maps, not filled, of whole tiles and a border."""
        wanted = (self.step * _part(side, self.step) - 1 for side in (self.height, self.width))
        sides = (_SIDE * -(-side // _SIDE) + _MORE for side in wanted)
        return like.new_empty((len(like), *sides, channels))

    def filled(self, maps: Tensor) -> Tensor:
        """Such maps of [N, C, height, width]."""
        found, rows = self.empty(maps, maps.shape[1]).zero_(), maps.permute(0, 2, 3, 1)
        for here, there in self._parts():
            found[there].copy_(rows[here])
        return found

    def cut(self, maps: Tensor) -> Tensor:
        """[N, C, height, width], channels last, of such maps."""
        found = maps.new_empty((len(maps), self.height, self.width, maps.shape[-1]))
        for here, there in self._parts():
            found[here].copy_(maps[there])
        return found.permute(0, 3, 1, 2)

    def seen(self, maps: Tensor) -> Tensor:
        """Tiles of 6 x 6 positions, which overlap."""
        return _tiles(maps, range(_SIDE + _MORE), range(_SIDE + _MORE))

    def results(self, maps: Tensor) -> Tensor:
        """Tiles of 4 x 4 positions in the middle of those of `seen`."""
        return _tiles(maps, range(1, _SIDE + 1), range(1, _SIDE + 1))

    def summed(self, tiles: Tensor, like: Tensor) -> Tensor:
        """Such maps onto which tiles of 6 x 6 positions, [36, T, C], are added."""
        maps = self.empty(like, tiles.shape[-1]).zero_()
        square = tiles.unflatten(0, (_SIDE + _MORE, -1))
        parts = (range(_SIDE), range(_SIDE, _SIDE + _MORE))  # of neighbours, they do not overlap
        for rows, columns in product(parts, parts):
            onto = _tiles(maps, rows, columns)
            part = square[rows.start : rows.stop, columns.start : columns.stop]
            onto += part.view(onto.shape)
        return maps

    def _parts(self) -> Iterator[tuple[_Place, _Place]]:
        """Where a part lies in maps [N, height, width, C] and where in those of the tiles."""
        every = slice(None)
        along = (_places(side, self.step) for side in (self.height, self.width))
        for (row, there), (column, beside) in product(*along):
            yield (every, row, column), (every, there, beside)


def _part(side: int, step: int) -> int:
    """Rows from one part of the `step`-th rows of `side` to the next."""
    return -(-side // step) + 1


def _places(side: int, step: int) -> list[tuple[slice, slice]]:
    found: list[tuple[slice, slice]] = []
    for first in range(min(step, side)):
        start = 1 + first * _part(side, step)
        stop = start + len(range(first, side, step))
        found.append((slice(first, None, step), slice(start, stop)))
    return found


def _tiles(maps: Tensor, rows: range, columns: range) -> Tensor:
    """A view of those of 6 x 6 positions, [rows, columns, N, tiles down, tiles across, C]."""
    image, row, column, channel = maps.stride()
    counts = (side // _SIDE for side in maps.shape[1:3])
    sizes = (len(rows), len(columns), len(maps), *counts, maps.shape[-1])
    strides = (row, column, image, _SIDE * row, _SIDE * column, channel)
    return maps.as_strided(sizes, strides, rows.start * row + columns.start * column)
