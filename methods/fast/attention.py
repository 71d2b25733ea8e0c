"""What SSP's rounds compute again of the same features, computed once or by what changed."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..blocks.prototypes import COSINE_SCALE
from ..blocks.self_support import SHARPNESS
from ..hosts.ssp import Matching
from .products import product


class Rounds(Matching):
    """On a CPU, without a graph, and for one episode, unit features are kept between rounds."""

    def __init__(self, features: Tensor):
        super().__init__(features)
        one = len(features) == 1 and not torch.is_grad_enabled()
        self._keeps = one and features.device.type == "cpu"

    @cached_property
    def _rows(self) -> Tensor:
        return self.features[0].flatten(1).t()

    @cached_property
    def _unit(self) -> Tensor:
        return self._rows / torch.linalg.vector_norm(self._rows, dim=1, keepdim=True)

    @cached_property
    def _sums(self) -> _Sums:
        return _Sums(self._rows, self._unit)

    def scored(self, fore: Tensor, back: Tensor) -> Tensor:
        """As in `Matching`; prototypes are [1, C, 1, 1] or one per position [1, C, h, w]."""
        if not self._keeps:
            return super().scored(fore, back)
        found = torch.stack([self._cosines(prototype) for prototype in (back, fore)])
        return COSINE_SCALE * found.view(1, 2, *self.features.shape[2:])

    def attention(self, chosen: Tensor) -> Tensor:
        """As in `Matching`."""
        if not self._keeps:
            return super().attention(chosen)
        return self._sums.of(chosen[0]).t().reshape(self.features.shape)

    def _cosines(self, prototype: Tensor) -> Tensor:
        rows = prototype[0].flatten(1).t()
        length = torch.linalg.vector_norm(rows, dim=1).clamp_min(_EPS)
        along = self._unit @ rows[0] if len(rows) == 1 else (self._unit * rows).sum(1)
        return along / length


_EPS = 1e-8
"""Of `torch.nn.functional.cosine_similarity`."""


class _Sums:
    """Numerator [N, C] and denominator [N, 1] of one episode's attention, kept between choices.

    Both are sums over the chosen columns, so the next choice costs only the columns that entered or
    left: a fifth of them between SSP's two rounds on real images.
    """

    def __init__(self, rows: Tensor, unit: Tensor):
        self._rows, self._unit = rows, unit
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def of(self, chosen: Tensor) -> Tensor:
        if self._kept is None or self._is_nearer_to_nothing(chosen, self._kept[0]):
            above, below = self._added(chosen, chosen)
        else:
            before, above, below = self._kept
            changed = chosen != before
            if bool(changed.any()):
                more, weight = self._added(changed, chosen)
                above, below = more.add_(above), weight.add_(below)
        self._kept = chosen.clone(), above, below
        return above / below

    @staticmethod
    def _is_nearer_to_nothing(chosen: Tensor, before: Tensor) -> bool:
        return int((chosen != before).sum()) >= int(chosen.sum())

    def _added(self, changed: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """What the changed columns add to the sums, those that left with a minus."""
        there = changed.nonzero()[:, 0]
        sign = torch.where(chosen[there], 1.0, -1.0).to(self._rows.dtype)[:, None]
        weights = product(self._unit, SHARPNESS * self._unit[there]).exp_()
        return product(weights, (sign * self._rows[there]).t()), weights @ sign
