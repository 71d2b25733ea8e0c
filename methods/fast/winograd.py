"""Padded 3x3 convolutions with half the multiplications: Winograd's F(4, 3) along the rows.

Four rows of the result take six convolutions of one row each instead of twelve (Winograd 1980;
Lavin and Gray, CVPR 2016, section 4). The columns keep their plain 1x3 kernel: transforming them
too would halve the products once more, for twice the sums in memory and more rounding. As it is,
the rounding error is twice that of the direct form (root mean square; at worst eight times).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .linear import applied

_TILE = 4
# Points 0, 1, -1, 2, -2 and infinity.
_KERNEL_ROWS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
# Below, carrying the six kernels to the processor costs more than their products save.
WORTH_ROWS = 24


_only_direct = ContextVar("_only_direct", default=False)


@contextmanager
def direct() -> Generator[None]:
    """While it lasts everything is convolved directly: for counting, alike on every device."""
    token = _only_direct.set(True)
    try:
        yield
    finally:
        _only_direct.reset(token)


class Convolution3x3:
    """A padded 3x3 convolution of every group of channels, by Winograd's form where it is faster.

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

    def by_rows(self, maps: Tensor) -> Tensor:
        """The same, always in Winograd's form and without a gradient."""
        found = [self._product(*pair) for pair in zip(_taken(maps), self._rows, strict=True)]
        return _given(found)[:, : maps.shape[-2]].permute(0, 3, 1, 2)

    @cached_property
    def transposed(self) -> Convolution3x3:
        """What a gradient goes back through: the kernel turned by half a circle."""
        return Convolution3x3(self._weight.transpose(0, 1).flip(2, 3), groups=self._groups)

    # Which of the two forms is asked for, the size of the maps decides.

    @cached_property
    def _rows(self) -> list[Tensor]:
        rows = torch.tensor(_KERNEL_ROWS, dtype=torch.float64, device=self._weight.device)
        kernels = torch.einsum("ra,ocab->rocb", rows, self._weight.double())
        return [self._repeated(kernel[:, :, None].to(self._weight.dtype)) for kernel in kernels]

    @cached_property
    def _direct(self) -> Tensor:
        return self._repeated(self._weight)

    def _repeated(self, kernel: Tensor) -> Tensor:
        many = kernel.repeat(self._groups, 1, 1, 1)
        return many.contiguous(memory_format=torch.channels_last)

    def _there(self, maps: Tensor) -> Tensor:
        on_cpu = maps.device.type == "cpu"
        if on_cpu and maps.shape[-2] >= WORTH_ROWS and not _only_direct.get():
            return self.by_rows(maps)
        return F.conv2d(maps, self._direct, padding=1, groups=self._groups)

    def _back(self, maps: Tensor) -> Tensor:
        return self.transposed(maps)

    def _product(self, rows: Tensor, kernel: Tensor) -> Tensor:
        maps = rows.permute(0, 3, 1, 2)
        found = F.conv2d(maps, kernel, padding=(0, 1), groups=self._groups)
        return found.permute(0, 2, 3, 1)


def _taken(maps: Tensor) -> tuple[Tensor, ...]:
    """Six sums of the six rows that four rows of the result depend on, [B, h / 4, w, C] each."""
    batch, channels, height, width = maps.shape
    tiles = -(-height // _TILE)
    rows = maps.new_empty(batch, _TILE * tiles + 2, width, channels)
    rows[:, :1] = 0
    rows[:, height + 1 :] = 0
    rows[:, 1 : height + 1] = maps.permute(0, 2, 3, 1)
    first, second, third, fourth, fifth, sixth = (
        rows[:, k : k + _TILE * tiles - _TILE + 1 : _TILE] for k in range(6)
    )
    one_even = torch.sub(fifth, third, alpha=4)
    one_odd = torch.sub(fourth, second, alpha=4)
    two_even = fifth - third
    two_odd = fourth - second
    return (
        torch.sub(fifth, third, alpha=5).add_(first, alpha=4),
        one_even + one_odd,
        one_even.sub_(one_odd),
        torch.add(two_even, two_odd, alpha=2),
        two_even.sub_(two_odd, alpha=2),
        torch.sub(sixth, fourth, alpha=5).add_(second, alpha=4),
    )


def _given(products: list[Tensor]) -> Tensor:
    """Four rows of the result from six products, [B, 4 * tiles, w, C']; changes the products."""
    zero, one, minus_one, two, minus_two, infinity = products
    batch, tiles, width, channels = zero.shape
    one_even = one + minus_one
    one_odd = one.sub_(minus_one)
    two_even = two + minus_two
    two_odd = two.sub_(minus_two)
    rows = zero.new_empty(batch, tiles, _TILE, width, channels)
    torch.add(zero.add_(one_even), two_even, out=rows[:, :, 0])
    torch.add(one_odd, two_odd, alpha=2, out=rows[:, :, 1])
    torch.add(one_even, two_even, alpha=4, out=rows[:, :, 2])
    torch.add(infinity.add_(one_odd), two_odd, alpha=8, out=rows[:, :, 3])
    return rows.flatten(1, 2)
