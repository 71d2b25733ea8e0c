"""Wide convolutions of a training step by Fourier transforms of tiles, with all gradients.

A 7x7 kernel takes 49 real products a position, its spectrum over tiles whose side is 16 to 28 one
complex product or less. Every `dilation`-th row and column of the maps are images of their own, on
which the kernel has no gaps. All is equal up to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.method import Method

_WIDE, _MANY = 5, 64
"""Sides of kernels and numbers of channels from which spectra are faster."""
_LARGEST = 32
"""Side of the largest tiles; the spectra of a kernel grow with their area."""
_TRANSFORM = 40
"""Complex products that take as long as the transforms of one position, measured."""
_USES = 8
"""How often the spectrum of a kernel is used in a step, 4 times by DR-Adapter, and that of its
gradient as often."""


def _is_wide(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a convolution that is faster by its spectrum: unpadded, of stride 1."""
    if not isinstance(module, nn.Conv2d):
        return False
    size, dilation = module.kernel_size, module.dilation
    return (
        size[0] == size[1] >= _WIDE
        and dilation[0] == dilation[1]
        and (module.stride, module.padding, module.groups) == ((1, 1), (0, 0), 1)
        and min(module.in_channels, module.out_channels) >= _MANY
    )


def wide_convolutions(network: Method) -> list[nn.Conv2d]:
    """Those convolutions outside the backbone that are faster by their spectra."""
    inside = set(network.backbone.modules())
    return [module for module in network.modules() if _is_wide(module) and module not in inside]


class SpectralConvolution:
    """Takes the place of a wide convolution in one step; equal up to rounding.

    Args:
        convolution: one of `wide_convolutions`; its weight must not change until the gradients are
            there.
    """

    def __init__(self, convolution: nn.Conv2d):
        self._convolution = convolution
        self._kernels: dict[int, tuple[_Kernel, Tensor]] = {}

    def __call__(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w'], as the convolution gives.

        Mixed precision is left to the convolution itself.
        """
        own = self._convolution
        if torch.is_autocast_enabled(maps.device.type):
            return nn.Conv2d.forward(own, maps)
        tiling = Tiling.of(own, maps)
        if tiling.side not in self._kernels:
            kernel = _Kernel(own.weight, tiling.side)
            token = cast("Tensor", _Taken.apply(own.weight, kernel))
            self._kernels[tiling.side] = kernel, token
        kernel, token = self._kernels[tiling.side]
        found = cast("Tensor", _Convolved.apply(maps, token, kernel, tiling))
        return found if own.bias is None else found + own.bias[:, None, None]


class _Kernel:
    """The spectrum of a kernel, and of the gradient that is gathered for it.

    Attributes:
        size: side of the kernel.
        side: of the tiles.
        spectrum: its conjugate, [frequencies, C', C].
        gradient: conjugate products of the same shape, from the first part of the way back.
    """

    def __init__(self, weight: Tensor, side: int):
        self.size, self.side = weight.shape[-1], side
        self.spectrum = _kernel_spectrum(weight, side)
        self.gradient: Tensor | None = None

    def add(self, gradient: Tensor, maps: Tensor) -> None:
        """Adds the products of spectra [frequencies, rows, C'] and [frequencies, rows, C]."""
        if self.gradient is None:
            self.gradient = gradient.mT @ maps
        else:
            self.gradient.baddbmm_(gradient.mT, maps)


class _Taken(torch.autograd.Function):
    """A kernel's weight into a token, which each use takes and gives a gradient to.

    So autograd knows when all have added theirs. The kernel does not hold it: in a circle with the
    graph both would stay in memory until Python looks for circles.
    """

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
    def forward(ctx: Any, maps: Tensor, token: Tensor, kernel: _Kernel, tiling: Tiling) -> Tensor:
        spectrum = tiling.spectrum(maps)
        ctx.kernel, ctx.tiling = kernel, tiling
        ctx.save_for_backward(spectrum)
        return tiling.outputs(spectrum @ kernel.spectrum.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (spectrum,), kernel, tiling = ctx.saved_tensors, ctx.kernel, ctx.tiling
        own = tiling.gradient_spectrum(grads[0])
        kernel.add(own, spectrum)
        to_maps = None
        if ctx.needs_input_grad[0]:
            to_maps = tiling.inputs((own @ kernel.spectrum).conj_physical_())
        return to_maps, grads[0].new_zeros(()), None, None


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the maps of a convolution are cut into tiles that overlap.

    Attributes:
        size: side of the kernel.
        step: its dilation.
        side: of the tiles.
        images: N.
        maps: (h, w) of what is convolved.
    """

    size: int
    step: int
    side: int
    images: int
    maps: tuple[int, int]

    @staticmethod
    def of(convolution: nn.Conv2d, maps: Tensor) -> Tiling:
        """Of the maps [N, C, h, w] of a wide convolution, with tiles that take the least time."""
        size, step = convolution.kernel_size[0], convolution.dilation[0]
        channels, shape = convolution.in_channels, (maps.shape[-2], maps.shape[-1])
        ways = [
            Tiling(size, step, side, len(maps), shape)
            for side in range(size + size % 2, _LARGEST + 1, 2)
        ]

        def time(way: Tiling) -> float:
            tiles = len(maps) * step * step * math.prod(way.counts)
            transforms = _TRANSFORM * (2 * tiles + 2 * channels / _USES)
            return way.side**2 * (tiles * channels / 2 + transforms)

        return min(ways, key=time)

    @property
    def new(self) -> int:
        """Output positions of a tile, each way."""
        return self.side - self.size + 1

    @property
    def out(self) -> tuple[int, int]:
        """(h', w') of the convolution's output."""
        less = self.step * (self.size - 1)
        return self.maps[0] - less, self.maps[1] - less

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles each way, of every `step`-th row and column."""
        height, width = (-(-side // (self.new * self.step)) for side in self.out)
        return height, width

    def spectrum(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [frequencies, rows, C], a row for each tile."""
        return _spectrum(self._tiles(maps, self.side), self.side)

    def gradient_spectrum(self, gradient: Tensor) -> Tensor:
        """[N, C', h', w'] of an output's gradient -> its conjugate [frequencies, rows, C']."""
        return _spectrum(self._tiles(gradient, self.new), self.side, conjugate=True)

    def outputs(self, products: Tensor) -> Tensor:
        """[frequencies, rows, C'] -> [N, C', h', w'] as they lie in a larger map, channels last."""
        return self._joined(self._apart(_positions(products, self.side, self.new)), self.out)

    def inputs(self, products: Tensor) -> Tensor:
        """[frequencies, rows, C] -> [N, C, h, w], channels last; what overlaps is added."""
        tiles = self._apart(_positions(products, self.side, self.side))
        counts = self.counts
        height, width = ((count - 1) * self.new + self.side for count in counts)
        whole = tiles.new_zeros((height, width, *tiles.shape[2:]))[:, :, :, :1, :, :1]
        for row in range(counts[0]):
            for column in range(counts[1]):
                y, x = row * self.new, column * self.new
                part = whole[y : y + self.side, x : x + self.side]
                part += tiles[:, :, :, row : row + 1, :, column : column + 1]
        return self._joined(whole, self.maps)

    def _tiles(self, maps: Tensor, side: int) -> Tensor:
        """[N, C, h, w] -> [side, side, rows, C], a tile every `new` positions."""
        more = [
            self.step * ((count - 1) * self.new + side) - given
            for count, given in zip(self.counts, maps.shape[-2:], strict=True)
        ]
        rows = F.pad(maps.permute(0, 2, 3, 1), (0, 0, 0, more[1], 0, more[0]))
        apart = rows.unflatten(2, (-1, self.step)).unflatten(1, (-1, self.step))
        cut = apart.unfold(1, side, self.new).unfold(3, side, self.new)  # N ty s tx s C y x
        return cut.permute(6, 7, 0, 1, 2, 3, 4, 5).flatten(2, -2)

    def _apart(self, tiles: Tensor) -> Tensor:
        """[y, x, rows, C] -> [y, x, N, ty, step, tx, step, C]."""
        height, width = self.counts
        return tiles.unflatten(2, (self.images, height, self.step, width, self.step))

    @staticmethod
    def _joined(tiles: Tensor, size: tuple[int, int]) -> Tensor:
        """[y, x, N, ty, step, tx, step, C] -> [N, C, *size], channels last."""
        rows = tiles.permute(2, 3, 0, 4, 5, 1, 6, 7).flatten(4, 6).flatten(1, 3)
        return rows[:, : size[0], : size[1]].permute(0, 3, 1, 2)


def _kernel_spectrum(weight: Tensor, side: int) -> Tensor:
    """The conjugate spectrum of a kernel [C', C, k, k], [frequencies, C', C]."""
    return _spectrum(weight.detach().permute(2, 3, 0, 1), side, conjugate=True)


def _spectrum(maps: Tensor, side: int, *, conjugate: bool = False) -> Tensor:
    """Real [y, x, rows, C] -> [side * (side / 2 + 1), rows, C], as if zeros filled it up to `side`.

    Sides are so small that products with all waves are faster than fast transforms, and give the
    order that the products of spectra want.
    """
    height, width, rows, channels = maps.shape
    waves = _waves(side, 1 if conjugate else -1, maps.dtype)
    half = side // 2 + 1
    along, flat = waves[:half, :width], maps.reshape(height, width, rows * channels)
    found = torch.complex(along.real.contiguous() @ flat, along.imag.contiguous() @ flat)
    return (waves[:, :height] @ found.flatten(1)).view(side * half, rows, channels)


def _positions(products: Tensor, side: int, new: int) -> Tensor:
    """[side * (side / 2 + 1), rows, C] -> the first `new` of each side, [new, new, rows, C]."""
    _, rows, channels = products.shape
    half = side // 2 + 1
    waves = _waves(side, 1, products.real.dtype)[:new]
    found = (waves @ products.reshape(side, -1)).view(new, half, rows * channels)
    # A real signal's other frequencies are conjugates of these, but for the first and the last.
    shares = torch.full((half,), 2 / side**2, dtype=products.real.dtype)
    shares[0] = shares[-1] = 1 / side**2
    return ((waves[:, :half] * shares) @ found).real.unflatten(2, (rows, channels))


@cache
def _waves(side: int, sign: int, dtype: torch.dtype) -> Tensor:
    """`exp(sign 2 pi i f x / side)`, [side, side]."""
    turns = torch.arange(side)
    angles = sign * 2 * math.pi * (turns[:, None] * turns % side).double() / side
    return torch.complex(angles.cos().to(dtype), angles.sin().to(dtype))
