"""Wide convolutions of training by Fourier transforms of tiles: equal up to rounding.

A 7x7 kernel takes 49 real products a position, its spectrum over tiles whose side is 16 to 28 one
complex product or less. Every `dilation`-th row and column of the maps are images of their own, on
which the kernel has no gaps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.method import Method

_LARGEST = 32
"""Side of the largest tiles; the spectra of a kernel grow with their area."""
_TRANSFORM = 40
"""Complex products that take as long as the transforms of one position, measured."""
_WIDE, _MANY = 5, 64
"""Sides of kernels and numbers of channels from which spectra are faster."""
_USES = 4
"""How often a kernel is used in a step, so that its own transform counts for less."""


def wide_convolutions(network: Method) -> list[nn.Conv2d]:
    """Those convolutions behind or beside the backbone that are faster by their spectra."""
    inside = set(network.backbone.modules())
    return [
        m for m in network.modules() if isinstance(m, nn.Conv2d) and m not in inside and _is_wide(m)
    ]


def _is_wide(convolution: nn.Conv2d) -> bool:
    size, dilation = convolution.kernel_size, convolution.dilation
    return (
        size[0] == size[1] >= _WIDE
        and dilation[0] == dilation[1]
        and (convolution.stride, convolution.padding) == ((1, 1), (0, 0))
        and convolution.groups == 1
        and min(convolution.in_channels, convolution.out_channels) >= _MANY
    )


class SpectralConvolution:
    """An unpadded convolution of stride 1 in one training step, with all gradients.

    Args:
        convolution: of one group and a square kernel; its weight must not change until the
            gradients are there.
    """

    def __init__(self, convolution: nn.Conv2d):
        self._convolution = convolution
        self._kernels: dict[int, _Kernel] = {}

    def __call__(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w'], as the convolution gives.

        Mixed precision is left to the convolution itself.
        """
        own = self._convolution
        if torch.is_autocast_enabled(maps.device.type):
            return nn.Conv2d.forward(own, maps)
        step, size = own.dilation[0], own.kernel_size[0]
        out = [-(-(side - step * (size - 1)) // step) for side in maps.shape[-2:]]
        side = _tile_side(len(maps) * step * step, out, size, own.in_channels)
        kernel = self._kernels.get(side)
        if kernel is None:
            kernel = self._kernels[side] = _Kernel(own.weight, side)
        found = cast("Tensor", _Convolved.apply(maps, kernel.token, kernel, step))
        return found if own.bias is None else found + own.bias[:, None, None]


def _tile_side(images: int, out: Sequence[int], size: int, channels: int) -> int:
    """The side of the tiles that takes the least time."""

    def time(side: int) -> float:
        new = side - size + 1
        tiles = images
        for each in out:
            tiles *= -(-each // new)
        positions = side * side
        products = tiles * channels * positions / 2
        return products + _TRANSFORM * positions * (2 * tiles + 2 * channels / _USES)

    return min(range(size + size % 2, _LARGEST + 1, 2), key=time)


class _Kernel:
    """The spectrum of a kernel, and of the gradient that is gathered for it.

    Attributes:
        size: side of the kernel.
        side: of the tiles.
        spectrum: its conjugate, [frequencies, C', C].
        gradient: conjugate products of the same shape, from the first part of the way back.
        token: what a convolution takes and gives a gradient to, so that autograd knows when all
            have added theirs.
    """

    def __init__(self, weight: Tensor, side: int):
        self.size, self.side = weight.shape[-1], side
        self.gradient: Tensor | None = None
        with torch.no_grad():
            self.spectrum = _spectrum(weight.permute(2, 3, 0, 1), side, conjugate=True)
        self.token = cast("Tensor", _Taken.apply(weight, self))

    def add(self, gradient: Tensor, maps: Tensor) -> None:
        """Adds the products of spectra [frequencies, rows, C'] and [frequencies, rows, C]."""
        if self.gradient is None:
            self.gradient = gradient.mT @ maps
        else:
            self.gradient.baddbmm_(gradient.mT, maps)


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, kernel: _Kernel) -> Tensor:
        ctx.kernel = kernel
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        kernel: _Kernel = ctx.kernel
        found, kernel.gradient = kernel.gradient, None
        if found is None:
            return None, None
        return _positions(found, kernel.side, kernel.size).permute(2, 3, 0, 1).contiguous(), None


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, token: Tensor, kernel: _Kernel, step: int) -> Tensor:
        new = kernel.side - kernel.size + 1
        out = [side - step * (kernel.size - 1) for side in maps.shape[-2:]]
        counts = [-(-side // (new * step)) for side in out]
        tiles = _tiles(maps, counts, step, kernel.side, new)
        spectrum = _spectrum(tiles.flatten(2, -2), kernel.side)
        ctx.kernel, ctx.step, ctx.counts, ctx.shape = kernel, step, counts, maps.shape
        ctx.save_for_backward(spectrum)
        found = _positions(spectrum @ kernel.spectrum.mT, kernel.side, new)
        return _joined(found.unflatten(2, tiles.shape[2:-1]), out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (spectrum,), kernel, step, shape = ctx.saved_tensors, ctx.kernel, ctx.step, ctx.shape
        new = kernel.side - kernel.size + 1
        tiles = _tiles(grads[0], ctx.counts, step, new, new)
        own = _spectrum(tiles.flatten(2, -2), kernel.side, conjugate=True)
        kernel.add(own, spectrum)
        to_maps = None
        if ctx.needs_input_grad[0]:
            found = _positions((own @ kernel.spectrum).conj_physical_(), kernel.side, kernel.side)
            found = found.unflatten(2, tiles.shape[2:-1])
            to_maps = _joined(_added(found, new), shape[-2:])
        return to_maps, grads[0].new_zeros(()), None, None


def _tiles(maps: Tensor, counts: Sequence[int], step: int, side: int, new: int) -> Tensor:
    """[N, C, h, w] -> [side, side, N, ty, step, tx, step, C], a tile every `new` positions."""
    more = [
        step * ((count - 1) * new + side) - given
        for count, given in zip(counts, maps.shape[-2:], strict=True)
    ]
    rows = F.pad(maps.permute(0, 2, 3, 1), (0, 0, 0, more[1], 0, more[0]))
    apart = rows.unflatten(2, (-1, step)).unflatten(1, (-1, step))
    cut = apart.unfold(1, side, new).unfold(3, side, new)  # N ty s tx s C y x
    return cut.permute(6, 7, 0, 1, 2, 3, 4, 5)


def _joined(tiles: Tensor, size: Sequence[int]) -> Tensor:
    """[y, x, N, ty, step, tx, step, C] -> [N, C, *size], channels last."""
    rows = tiles.permute(2, 3, 0, 4, 5, 1, 6, 7).flatten(4, 6).flatten(1, 3)
    return rows[:, : size[0], : size[1]].permute(0, 3, 1, 2)


def _added(tiles: Tensor, new: int) -> Tensor:
    """Tiles that begin every `new` positions, what overlaps added, as one tile each."""
    side, _, images, ty, step, tx, _, channels = tiles.shape
    size = [(count - 1) * new + side for count in (ty, tx)]
    found = tiles.new_zeros((*size, images, 1, step, 1, step, channels))
    for y in range(ty):
        for x in range(tx):
            part = found[y * new : y * new + side, x * new : x * new + side]
            part += tiles[:, :, :, y : y + 1, :, x : x + 1]
    return found


def _spectrum(maps: Tensor, side: int, *, conjugate: bool = False) -> Tensor:
    """Real [y, x, rows, C] -> [side * (side / 2 + 1), rows, C], as if zeros filled it up.

    Sides are so small that products with all waves are faster than fast transforms, and give the
    order that the products of spectra want.
    """
    height, width, rows, channels = maps.shape
    sign = 1 if conjugate else -1
    half = side // 2 + 1
    waves = _waves(side, sign, maps.dtype)
    along = waves[:half, :width]
    flat = maps.reshape(height, width, rows * channels)
    found = torch.complex(along.real.contiguous() @ flat, along.imag.contiguous() @ flat)
    found = waves[:, :height] @ found.flatten(1)
    return found.view(side * half, rows, channels)


def _positions(spectrum: Tensor, side: int, new: int) -> Tensor:
    """[side * (side / 2 + 1), rows, C] -> the first `new` of each side, [new, new, rows, C]."""
    _, rows, channels = spectrum.shape
    half = side // 2 + 1
    waves = _waves(side, 1, spectrum.real.dtype)[:new]
    found = waves @ spectrum.reshape(side, half * rows * channels)
    found = found.view(new, half, rows * channels)
    # A real signal's other frequencies are conjugates of these, but the first and the last.
    counted = torch.full((half,), 2 / side**2, dtype=spectrum.real.dtype)
    counted[0] = counted[-1] = 1 / side**2
    found = (waves[:, :half] * counted) @ found
    return found.real.unflatten(2, (rows, channels))


@cache
def _waves(side: int, sign: int, dtype: torch.dtype) -> Tensor:
    """`exp(sign 2 pi i f x / side)`, [side, side]."""
    turns = torch.arange(side)
    angles = sign * 2 * math.pi * (turns[:, None] * turns % side).double() / side
    return torch.complex(angles.cos().to(dtype), angles.sin().to(dtype))
