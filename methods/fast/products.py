"""Matrix products of CPUs by oneDNN.

torch hands `a @ b` on a CPU to MKL, which on AMD processors takes a path of less than half the
machine's speed. A 1x1 convolution on maps that lie channels last is the same product and goes to
oneDNN, which knows them all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a b^T`, [M, N] of rows [M, K] and [N, K]."""
    rows, depth = a.shape
    by_onednn = a.device.type == "cpu" and a.dtype == torch.float32
    if not by_onednn or not rows or a.requires_grad or b.requires_grad:
        return a @ b.t()
    # Strides are spelt out: in a map one pixel wide torch cannot see that channels are last.
    maps = a.contiguous().as_strided((1, depth, rows, 1), (rows * depth, 1, depth, depth))
    # The dilation of a single tap means nothing, but keeps torch from its own slower kernel.
    return F.conv2d(maps, b[:, :, None, None], dilation=2)[0, :, :, 0].t()


_FEW = 2**15
"""Elements below which a product costs less than the call."""


def products(a: Tensor, b: Tensor) -> Tensor:
    """`a b^T` of each of several, [T, M, N] of [T, M, K] and [T, N, K]."""
    if a.device.type != "cpu" or a[0].numel() < _FEW:
        return a @ b.mT
    return torch.stack([product(one, other) for one, other in zip(a, b, strict=True)])


_CHUNK = 128
"""Rows whose product stays in a cache until it is cut."""


def fill_rank_two(out: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Writes what is positive of `rows columns` into `out`, [M, N] of [M, 2] and [2, N].

    Nearly all of it is memory traffic: a library's product and a cut are two walks over `out`.
    """
    for target, part in zip(out.split(_CHUNK), rows.split(_CHUNK), strict=True):
        found = torch.mul(part[:, :1], columns[0])
        torch.clamp(found.addcmul_(part[:, 1:], columns[1]), min=0, out=target)
