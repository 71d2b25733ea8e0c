"""Otsu's threshold of a map of real numbers (Otsu, IEEE Trans. SMC 9(1), 1979)."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256
FLAT = 1e-6
"""A map with less between its smallest and largest value is constant up to rounding."""
_LIGHTEST = float(torch.finfo(torch.float32).eps)
"""A class with a smaller share of the values is none (OpenCV)."""


def otsu(values: Tensor, *, ignored_share: float = 0.0) -> Tensor:
    """The value that splits `values` (not all equal) into the two most different classes.

    The values are scaled to 256 levels by their own extremes, those in the lowest `ignored_share`
    of that range are not counted; of equally good levels the lowest is taken. OpenCV's
    `threshold(..., THRESH_OTSU)` finds the same level.
    """
    low, high = values.min(), values.max()
    scaled = ((values - low) / (high - low) * (LEVELS - 1)).to(torch.uint8)
    counts = torch.bincount(scaled.flatten().long(), minlength=LEVELS).tolist()
    lowest = int((LEVELS - 1) * ignored_share)
    level = best_split([0] * lowest + counts[lowest:])
    return low + level / (LEVELS - 1) * (high - low)


def best_split(counts: list[int]) -> int:
    """The level up to which the first class reaches, from a histogram."""
    total = sum(counts)
    mean = sum(level * count for level, count in enumerate(counts)) / total
    below, below_mean = 0.0, 0.0
    best, best_spread = 0, 0.0
    for level, count in enumerate(counts):
        share = count / total
        carried = below_mean * below
        below += share
        above = 1.0 - below
        if min(below, above) < _LIGHTEST or max(below, above) > 1.0 - _LIGHTEST:
            continue
        below_mean = (carried + level * share) / below
        above_mean = (mean - below * below_mean) / above
        spread = below * above * (below_mean - above_mean) ** 2
        if spread > best_spread:
            best, best_spread = level, spread
    return best
