"""SSP's self-support: prototypes from the query's own confident pixels (SSP eqs. 3-9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FORE_THRESHOLD = 0.7
BACK_THRESHOLD = 0.6
FALLBACK = 12
"""Pixels taken where none is confident (SSP `model/SSP_matching.py`, SSP_func)."""
SHARPNESS = 2.0
"""Factor of the cosines before the softmax of the local prototypes (same place)."""


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


def self_support(
    features: Tensor, logits: Tensor, attention: Callable[[Tensor], Tensor] | None = None
) -> SelfSupport:
    """Confident pixels of `logits` [B, 2, h, w] turned into prototypes of `features` [B, C, h, w].

    The published code also attends to the foreground and then ignores the result; that half of the
    work is left out.

    Args:
        features: of the images in which confident pixels are looked for.
        logits: channel 0 background.
        attention: gives the local prototypes [B, C, h, w] of chosen positions, bool [B, N]; by
            default `local_prototypes`.

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
        local_back=(
            local_prototypes(rows, back).reshape(features.shape)
            if attention is None
            else attention(back)
        ),
    )


def confident(probability: Tensor, threshold: float) -> Tensor:
    """Bool [B, N]: strictly above the threshold, or the 12 most probable where none is."""
    chosen = probability > threshold
    best = probability.topk(FALLBACK, dim=1).indices
    fallback = torch.zeros_like(chosen).scatter(1, best, value=True)
    return torch.where(chosen.any(1, keepdim=True), chosen, fallback)


def local_prototypes(rows: Tensor, chosen: Tensor, *, eps: float = 0.0) -> Tensor:
    """For each position, the chosen features weighted by similarity: [B, C, N].

    `softmax over chosen of SHARPNESS cos(x_i, x_j)`, applied to the chosen features (SSP eq. 7).
    The cosine is within [-1, 1], so the exponential needs no shift, and dividing after the product
    saves a pass. As published by SSP there is no guard against a zero feature, whose direction is
    undefined.

    Args:
        rows: [B, C, N].
        chosen: bool [B, N], at least one per row.
        eps: added to the norms (HERA adds 1e-6).
    """
    directions = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + eps)
    # Not in a fast form, since training takes this way too: a CPU gains a third of the products
    # by leaving out what is not chosen, and an accelerator would be waited for to learn the width.
    if rows.device.type != "cpu":
        return weighted_by_likeness(rows, directions, directions, chosen)
    # Every episode selects another number of columns: gather the longest selection, mute the rest.
    width = int(chosen.sum(1).max())
    order = chosen.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    order, taken = order[:, None].expand(-1, rows.shape[1], -1), chosen.gather(1, order)
    values, keys = (each.gather(2, order) for each in (rows, directions))
    return weighted_by_likeness(values, keys, directions, taken)


def weighted_by_likeness(values: Tensor, keys: Tensor, directions: Tensor, taken: Tensor) -> Tensor:
    """Means [B, C, N] of those `values` that are taken, by their likeness to N directions.

    Args:
        values: [B, C, M].
        keys: their directions, [B, C, M].
        directions: [B, C, N].
        taken: bool [B, M], at least one per row; the others are muted.
    """
    weights = (SHARPNESS * keys.transpose(1, 2) @ directions).exp()
    weights = weights.masked_fill(~taken[:, :, None], 0)
    return (values @ weights) / weights.sum(1, keepdim=True)


def _mean_of(rows: Tensor, chosen: Tensor) -> Tensor:
    weights = chosen.to(rows.dtype)
    return (rows @ weights[..., None])[..., 0] / weights.sum(1, keepdim=True)
