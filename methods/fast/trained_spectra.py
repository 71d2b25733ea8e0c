"""Wide convolutions of a training step by their spectra, with all gradients."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..core.method import Method
from .spectra import Tiling, is_wide, kernel_spectrum, positions


def wide_convolutions(network: Method) -> list[nn.Conv2d]:
    """Those convolutions outside the backbone that are faster by their spectra."""
    inside = set(network.backbone.modules())
    return [module for module in network.modules() if is_wide(module) and module not in inside]


class SpectralConvolution:
    """Takes the place of a wide convolution in one step; equal up to rounding.

    Args:
        convolution: one that `is_wide`; its weight must not change until the gradients are there.
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
        self.spectrum = kernel_spectrum(weight, side)
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
        return positions(found, kernel.side, kernel.size).permute(2, 3, 0, 1).contiguous(), None


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
