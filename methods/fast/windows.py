"""Which support positions each window of a strided convolution sees, and where they are stored."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def windows_of(
    side: tuple[int, int], kernel: int, stride: int
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Positions [windows, k*k] under the kernel at each output position, -1 outside; their grid."""
    height, width = side
    offsets = np.arange(kernel) - kernel // 2
    ys = np.arange(0, height, stride)[:, None] + offsets
    xs = np.arange(0, width, stride)[:, None] + offsets
    y, x = ys[:, None, :, None], xs[None, :, None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    positions = np.where(inside, y * width + x, -1)
    return positions.reshape(len(ys) * len(xs), kernel**2), (len(ys), len(xs))


def runs(rows: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    """Where windows find rows that follow each other, so that a product needs no gathering.

    Args:
        rows: [windows, k*k], -1 where there is none.

    Returns:
        (window, first offset, its row, length) of each run.
    """
    there = rows >= 0
    follows = np.zeros_like(there)
    follows[:, 1:] = there[:, 1:] & there[:, :-1] & (rows[:, 1:] == rows[:, :-1] + 1)
    ends = there.copy()
    ends[:, :-1] &= ~follows[:, 1:]
    windows, firsts = np.nonzero(there & ~follows)
    lengths = np.nonzero(ends)[1] - firsts + 1
    found = np.stack((windows, firsts, rows[windows, firsts], lengths), axis=1)
    return [(a, b, c, d) for a, b, c, d in found.tolist()]
