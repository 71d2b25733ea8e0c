"""Convolutions of an enlarged map, computed before it is enlarged.

A convolution's taps are sums over channels; enlarging (bilinear, corners aligned) and shifting are
sums over positions. They commute: nine sums over channels where there are a quarter of the
positions, then one product along each axis, which enlarges and shifts at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .convolution import pointwise
from .linear import applied

_CENTRE = (1, 1)
_AROUND = [(y, x) for y in range(3) for x in range(3) if (y, x) != _CENTRE]


class Enlarged:
    """A grouped 3x3 and a dense 1x1 convolution, added, of bilinearly enlarged maps.

    Gradients flow through the maps alone.

    Args:
        grouped: kernel [C, C / groups, 3, 3], zero padding.
        dense: kernel [C, C, 1, 1].
        groups: of the former.
        small: (h, w) of the maps that are given.
        large: (H, W) to which they are enlarged.
    """

    def __init__(
        self,
        grouped: Tensor,
        dense: Tensor,
        *,
        groups: int,
        small: tuple[int, int],
        large: tuple[int, int],
    ):
        # The dense kernel has the place of the grouped one's centre, and takes it in.
        centre = torch.block_diag(*grouped[:, :, 1, 1].unflatten(0, (groups, -1)))
        around = {(y, x): (grouped[:, :, y, x, None, None], groups) for y, x in _AROUND}
        taps = {_CENTRE: (centre[..., None, None] + dense, 1), **around}
        self._taps = {place: (tap.contiguous(), many) for place, (tap, many) in taps.items()}
        self._taps_back = {place: (_turned(*tap), tap[1]) for place, tap in taps.items()}
        self._channels = len(dense)
        self._small, self._large = small, large
        self._rows, self._columns = (
            _shifts(few, many, like=grouped) for few, many in zip(small, large, strict=True)
        )

    def __call__(self, maps: Tensor, known: Tensor) -> Tensor:
        """[1, C, h, w] -> [1, C, H, W] of `known`, to which it is added; all channels last."""
        return applied(lambda given: self.forward(given, known), self.transposed, maps)

    def forward(self, maps: Tensor, known: Tensor) -> Tensor:
        """As `__call__`, without a gradient."""
        (height, width), (tall_height, _) = self._small, self._large
        shifted = maps.new_empty(3, height, 3, width, self._channels)
        for (y, x), (tap, groups) in self._taps.items():
            shifted[y, :, x] = _rows_of(pointwise(maps, tap, groups=groups))
        tall = (self._rows @ shifted.flatten(2).flatten(0, 1)).view(tall_height, 3 * width, -1)
        columns = self._columns.expand(tall_height, -1, -1)
        return _maps_of(torch.baddbmm(_rows_of(known), columns, tall))

    def transposed(self, maps: Tensor) -> Tensor:
        """[1, C, H, W] -> [1, C, h, w]: what `forward` does to `maps`, the other way round."""
        height, width = self._small
        tall = self._columns.T @ _rows_of(maps)
        shifted = (self._rows.T @ tall.flatten(1)).view(3, height, 3, width, -1)
        parts = (
            pointwise(_maps_of(shifted[y, :, x]), tap, groups=groups)
            for (y, x), (tap, groups) in self._taps_back.items()
        )
        found = next(parts)
        for part in parts:
            found += part
        return found


def _turned(kernel: Tensor, groups: int) -> Tensor:
    """[groups * C', C, 1, 1] -> [groups * C, C', 1, 1]."""
    return kernel.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).contiguous()


def _rows_of(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1)[0]


def _maps_of(rows: Tensor) -> Tensor:
    return rows[None].permute(0, 3, 1, 2)


def _shifts(few: int, many: int, *, like: Tensor) -> Tensor:
    """[many, 3 * few]: enlarged by interpolation and moved by -1, 0 and 1, zero beyond the edge."""
    unit = torch.eye(few, device=like.device, dtype=like.dtype)
    enlarged = F.interpolate(unit[None], many, mode="linear", align_corners=True)[0].T
    beyond = enlarged.new_zeros(1, few)
    before = torch.cat([beyond, enlarged[:-1]])
    after = torch.cat([enlarged[1:], beyond])
    return torch.cat([before, enlarged, after], dim=1)
