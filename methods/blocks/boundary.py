"""FPTrans's boundary weights: pixels near the border of the object count more."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DECAY = 25.0
"""Pixels over which the extra weight falls to 1/e (FPTrans)."""


def boundary_weights(masks: Tensor) -> Tensor:
    """`1 + exp(-d / 25)` [N, H, W], d the distance in pixels to the border of the object.

    The border is what a 3 x 3 dilation of `masks` [N, H, W] == 1 has and its erosion has not. An
    image without a border weighs 1 everywhere.
    """
    objects = (masks == 1).float()[:, None]
    grown = F.max_pool2d(objects, 3, stride=1, padding=1)
    shrunk = -F.max_pool2d(-objects, 3, stride=1, padding=1)
    border = (grown > shrunk)[:, 0]
    return 1 + torch.exp(-torch.stack([_distances(each) for each in border]) / DECAY)


def weighted_cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over pixels; `truth` [N, H, W] of 0, 1 and ignored 255, a scalar."""
    each = F.cross_entropy(logits, truth.long(), ignore_index=255, reduction="none")
    counted = weights * (truth != 255)
    return (each * counted).sum() / counted.sum().clamp_min(1e-6)


def _distances(border: Tensor) -> Tensor:
    """Euclidean distance of every position of `border` [H, W] (bool) to the nearest set one.

    Exact and separable: first within columns, then the best column for each position of a row.
    """
    height, width = border.shape
    rows = torch.arange(height, device=border.device, dtype=torch.float32)
    far = torch.full_like(rows, torch.inf)[:, None]
    above = torch.where(border, rows[:, None], -far).cummax(0).values
    below = torch.where(border, rows[:, None], far).flip(0).cummin(0).values.flip(0)
    column = torch.minimum(rows[:, None] - above, below - rows[:, None]).square()
    places = torch.arange(width, device=border.device, dtype=torch.float32)
    across = (places[:, None] - places[None]).square()
    best = [(across + line).amin(1) for line in column]
    return torch.stack(best).sqrt()
