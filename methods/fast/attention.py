"""SSP's attention to chosen positions (SSP eq. 7) for several choices, by what changed between."""

from __future__ import annotations

import torch
from torch import Tensor

from ..blocks.self_support import SHARPNESS, local_prototypes
from .products import product


class Attention:
    """How each position sees the chosen ones, for several choices of the same features (SSP eq. 7).

    Numerator and denominator are sums over the chosen columns. On a CPU, without a graph, and for
    one episode, the next choice therefore costs only the columns that entered or left: a fifth of
    them between SSP's two rounds on real images.

    Args:
        features: [B, C, h, w].
    """

    def __init__(self, features: Tensor):
        self._rows = features.flatten(2)
        self._shape = features.shape
        self._sums: _Sums | None = None

    def __call__(self, chosen: Tensor) -> Tensor:
        """Local prototypes [B, C, h, w] of bool `chosen` [B, N], at least one per row."""
        on_cpu = chosen.device.type == "cpu"
        if len(chosen) > 1 or torch.is_grad_enabled() or not on_cpu:
            return local_prototypes(self._rows, chosen).reshape(self._shape)
        if self._sums is None:
            self._sums = _Sums(self._rows[0].t())
        return self._sums.of(chosen[0]).t().reshape(self._shape)


class _Sums:
    """Numerator [N, C] and denominator [N, 1] of one episode's attention, kept between choices."""

    def __init__(self, rows: Tensor):
        self._rows = rows
        self._unit = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        self._chosen = rows.new_zeros(len(rows), dtype=torch.bool)
        self._above, self._below = torch.zeros_like(rows), rows.new_zeros(len(rows), 1)

    def of(self, chosen: Tensor) -> Tensor:
        changed = chosen != self._chosen
        if int(changed.sum()) >= int(chosen.sum()):  # cheaper from nothing
            self._above, self._below = torch.zeros_like(self._above), torch.zeros_like(self._below)
            changed = chosen
        there = changed.nonzero()[:, 0]
        if len(there):
            self._add(there, chosen)
        return self._above / self._below

    def _add(self, there: Tensor, chosen: Tensor) -> None:
        sign = torch.where(chosen[there], 1.0, -1.0).to(self._rows.dtype)[:, None]
        weights = (SHARPNESS * product(self._unit, self._unit[there])).exp()
        self._above = self._above + product(weights, (sign * self._rows[there]).t())
        self._below = self._below + weights @ sign
        self._chosen = chosen.clone()
