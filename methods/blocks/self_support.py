"""SSP's self-support: prototypes from the query's own confident pixels (SSP eqs. 3-9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fast.products import product

FORE_THRESHOLD = 0.7
BACK_THRESHOLD = 0.6
FALLBACK = 12
"""Pixels taken where none is confident (SSP `model/SSP_matching.py`, SSP_func)."""


@dataclass(frozen=True, slots=True)
class SelfSupport:
    """Prototypes found in the query itself.

    Attributes:
        fore: mean of the confident foreground features, [B, C, 1, 1].
        back: mean of the confident background features, [B, C, 1, 1].
        local_back: for each position, the confident background as it sees it, [B, C, h, w].
    """

    fore: Tensor
    back: Tensor
    local_back: Tensor


class Attention:
    """How each position sees the chosen ones, for several choices of the same features (SSP eq. 7).

    Numerator and denominator are sums over the chosen columns. Without a graph, and for one
    episode, the next choice therefore costs only the columns that entered or left: a fifth of them
    between SSP's two rounds on real images.

    Args:
        features: [B, C, h, w].
    """

    def __init__(self, features: Tensor):
        self._rows = features.flatten(2)
        self._shape = features.shape
        self._sums: _Sums | None = None

    def __call__(self, chosen: Tensor) -> Tensor:
        """Local prototypes [B, C, h, w] of bool `chosen` [B, N], at least one per row."""
        if len(chosen) > 1 or torch.is_grad_enabled():
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
        weights = (2 * product(self._unit, self._unit[there])).exp()
        self._above = self._above + product(weights, (sign * self._rows[there]).t())
        self._below = self._below + weights @ sign
        self._chosen = chosen.clone()


def self_support(
    features: Tensor, logits: Tensor, attention: Attention | None = None
) -> SelfSupport:
    """Confident pixels of `logits` [B, 2, h, w] turned into prototypes of `features` [B, C, h, w].

    With the `attention` of an earlier round on the same features, what did not change is not
    computed again. The published code also attends to the foreground and then ignores the result;
    that half of the work is left out.

    Raises:
        ValueError: if the map has fewer than 12 positions.
    """
    if features.shape[-2] * features.shape[-1] < FALLBACK:
        raise ValueError(f"self-support needs at least {FALLBACK} positions")
    probability = logits.flatten(2).softmax(1)
    rows = features.flatten(2)
    fore = confident(probability[:, 1], FORE_THRESHOLD)
    back = confident(probability[:, 0], BACK_THRESHOLD)
    return SelfSupport(
        fore=_mean_of(rows, fore)[..., None, None],
        back=_mean_of(rows, back)[..., None, None],
        local_back=(attention or Attention(features))(back),
    )


def confident(probability: Tensor, threshold: float) -> Tensor:
    """Bool [B, N]: strictly above the threshold, or the 12 most probable where none is."""
    chosen = probability > threshold
    best = probability.topk(FALLBACK, dim=1).indices
    fallback = torch.zeros_like(chosen).scatter(1, best, value=True)
    return torch.where(chosen.any(1, keepdim=True), chosen, fallback)


def local_prototypes(rows: Tensor, chosen: Tensor) -> Tensor:
    """For each position, the chosen features weighted by similarity: [B, C, N].

    `softmax over chosen of 2 cos(x_i, x_j)`, applied to the chosen features (SSP eq. 7). The
    cosine is within [-1, 1], so the exponential needs no shift, and dividing after the product
    saves a pass. As published there is no guard against a zero feature, whose direction is
    undefined.

    Args:
        rows: [B, C, N].
        chosen: bool [B, N], at least one per row.
    """
    # Every episode selects another number of columns: gather the longest selection, mute the rest.
    width = int(chosen.sum(1).max())
    order = chosen.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    taken = chosen.gather(1, order)
    values = rows.gather(2, order[:, None].expand(-1, rows.shape[1], -1))
    directions = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    keys = directions.gather(2, order[:, None].expand(-1, rows.shape[1], -1))
    weights = (2 * keys.transpose(1, 2) @ directions).exp()
    weights = weights * taken[:, :, None]
    return (values @ weights) / weights.sum(1, keepdim=True)


def _mean_of(rows: Tensor, chosen: Tensor) -> Tensor:
    weights = chosen.to(rows.dtype)
    return (rows @ weights[..., None])[..., 0] / weights.sum(1, keepdim=True)
