"""Figures of cost as tables write them."""

from __future__ import annotations

from .records import CostPart
from .texttable import BLANK


def count(number: int) -> str:
    """8.67 M, 412 k."""
    if number >= 1_000_000:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.0f} k" if number else "0"


def gflop(flops: int | None) -> str:
    """In thousands of millions, two decimals."""
    return BLANK if flops is None else f"{flops / 1e9:.2f}"


def fft(cost: CostPart) -> str:
    """GFLOP of transforms; they are small, so more decimals."""
    return f"{cost.flops_fft / 1e9:.4f}" if cost.flops_fft else BLANK


def differs(cost: CostPart) -> bool:
    """Whether the published code is known to compute another number of operations than ours."""
    return cost.flops_published not in (None, cost.flops_episode)
