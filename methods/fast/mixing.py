"""HSNet's mixing on what is left of the support: one position, or two by two.

Several positions lie side by side as channels, [1, positions * C, h, w], without a copy between the
layers; one position is a batch of ordinary maps. Gradients flow through the maps, not to the
parameters: learning at test runs this too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks.conv4d import CenterPivotConv4d, Squeeze
from ..blocks.hpn import HPNLearner, check_support_sizes
from .enlarging import Enlarged
from .flat_squeeze import FlatSqueeze
from .groups import normalised
from .small_support import SmallSupport

_ONE = (1, 1)


@dataclass(frozen=True, slots=True)
class Part:
    """What a stage's correlation was squeezed to.

    Attributes:
        maps: [B, positions * C, hq, wq], channels last; B is 1 where several positions are left.
        side: what is left of the support, (hs, ws); their product is the positions.
    """

    maps: Tensor
    side: tuple[int, int]

    @staticmethod
    def cat(parts: Sequence[Part]) -> Part:
        """Those of several supports as one batch."""
        return (
            parts[0] if len(parts) == 1 else Part(torch.cat([p.maps for p in parts]), parts[0].side)
        )

    @classmethod
    def of(cls, squeezed: Tensor) -> Part:
        """[B, C, hq, wq, hs, ws], position after position."""
        maps = squeezed.permute(0, 4, 5, 1, 2, 3).flatten(1, 3)
        side = (squeezed.shape[-2], squeezed.shape[-1])
        return cls(maps.contiguous(memory_format=torch.channels_last), side)


class Mixer:
    """`HPNLearner.mix` of one episode and one shot, or of several where one position is left.

    Args:
        learner: whose parameters are read once, here; they must not change afterwards.
    """

    def __init__(self, learner: HPNLearner):
        self._middle = Mixing(learner.encoder_layer4to3)
        self._fine = Mixing(learner.encoder_layer3to2)

    def __call__(self, parts: Sequence[Part]) -> Tensor:
        """Coarse, middle and fine part -> [B, C, h, w] of the finest.

        Raises:
            CompositionError: for image sizes at which the three squeezed support sizes differ.
        """
        check_support_sizes([part.side for part in parts])
        side = parts[0].side
        coarse, middle, fine = (part.maps for part in parts)
        mixed = self._middle(_resized(coarse, middle) + middle, side)
        mixed = self._fine(_resized(mixed, fine) + fine, side)
        return _mean(mixed, side)

    def onto(self, middle: Part, fine: Part, size: tuple[int, int]) -> Callable[[Part], Tensor]:
        """What gives `self([coarse, middle, fine])` for one coarse part of that size after another.

        Raises:
            CompositionError: as above.
        """
        check_support_sizes([middle.side, fine.side])
        side = middle.side
        first = self._middle.onto(middle.maps, side, size)
        second = self._fine.onto(fine.maps, side, _size(middle.maps))

        def mixed(coarse: Part) -> Tensor:
            check_support_sizes([coarse.side, side])
            return _mean(second(first(coarse.maps)), side)

        return mixed


class Mixing:
    """A `Squeeze` of stride 1.

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
        self._single = FlatSqueeze(block, _ONE)

    def __call__(self, maps: Tensor, side: tuple[int, int]) -> Tensor:
        """[B, positions * C, h, w], channels last, of the same; `side` is what is left."""
        if side == _ONE:
            return self._single(maps)
        for layer in self._layers_of(side):
            maps = layer(maps)
        return maps

    def onto(
        self, known: Tensor, side: tuple[int, int], size: tuple[int, int]
    ) -> Callable[[Tensor], Tensor]:
        """What gives `self(maps + known, side)` for maps of `size` enlarged to `known`'s size."""
        if side == _ONE:
            return lambda maps: self._single(_resized(maps, known) + known)
        first, *others = self._layers_of(side)
        enlarged = Enlarged(
            first.convolved.over_query,
            first.convolved.over_support,
            groups=first.positions,
            small=size,
            large=_size(known),
        )
        with torch.no_grad():
            share = first.convolved(known)

        def mixed(maps: Tensor) -> Tensor:
            maps = first.activated(enlarged(maps, share))
            for layer in others:
                maps = layer(maps)
            return maps

        return mixed

    def _layers_of(self, side: tuple[int, int]) -> list[_Layer]:
        if side not in self._prepared:
            self._prepared[side] = [_Layer(c, norm, side) for c, norm in self._layers]
        return self._prepared[side]


class _Layer:
    def __init__(self, convolution: CenterPivotConv4d, norm: nn.GroupNorm, side: tuple[int, int]):
        assert convolution.conv1.bias is not None
        assert convolution.conv2.bias is not None
        self.convolved = SmallSupport(convolution, side)
        self.positions = self.convolved.positions
        self.bias = (convolution.conv1.bias + convolution.conv2.bias).detach()
        self.norm = norm

    def __call__(self, maps: Tensor) -> Tensor:
        return self.activated(self.convolved(maps))

    def activated(self, out: Tensor) -> Tensor:
        rows = out.permute(0, 2, 3, 1).flatten(0, 2)
        rows = normalised(rows, self.bias, self.norm, self.positions)
        return rows.view(1, *out.shape[-2:], -1).permute(0, 3, 1, 2)


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _mean(mixed: Tensor, side: tuple[int, int]) -> Tensor:
    if side == _ONE:
        return mixed
    rows = mixed.permute(0, 2, 3, 1).unflatten(3, (side[0] * side[1], -1))
    return rows.mean(3).permute(0, 3, 1, 2)


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)
