"""Matrix products of CPUs by oneDNN, or by torch's own product where that is measured to be faster.

torch hands `a @ b` on a CPU to MKL, which on AMD processors takes a path of less than half the
machine's speed. A 1x1 convolution on maps that lie channels last is the same product and goes to
oneDNN, which knows them all. Where torch was built without oneDNN, its own convolution is slower.

Both give the same up to rounding, so one machine must always choose alike: oneDNN unless the other
needs less than a `MARGIN`th of its time, in time of the thread, the least of several trials. Noise
does not reach so far, and the two differ by far more where it matters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .convolution import pointwise

MARGIN = 1.3
"""How many times as fast torch's own product must be to be taken."""
_LARGE = 2**26
"""Multiplications of the smallest product for which the choice is made; it takes some 20 ms, once
a process. Smaller ones go to oneDNN."""


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a b^T + bias`, [M, N] of rows [M, K] and [N, K] and of [N]."""
    plain = a.device.type != "cpu" or a.dtype != torch.float32
    if plain or not len(a) or a.requires_grad or b.requires_grad:
        return F.linear(a, b, bias)
    if a.numel() * len(b) >= _LARGE and not onednn_is_taken():
        return F.linear(a, b, bias)
    return by_onednn(a, b, bias)


def by_onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`product` of rows without gradients, M at least 1, as a convolution."""
    rows, depth = a.shape
    # Strides are spelt out: in a map one pixel wide torch cannot see that channels are last.
    maps = a.contiguous().as_strided((1, depth, rows, 1), (rows * depth, 1, depth, depth))
    return pointwise(maps, b[:, :, None, None], bias)[0, :, :, 0].t()


@cache
def onednn_is_taken() -> bool:
    """Whether large products go to oneDNN on this machine, measured by the first call."""
    # What counts operations or watches them is told of one thread's: not of these.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_measured).result()


def _measured() -> bool:
    side = torch.full((512, 512), 0.5, dtype=torch.float32, device="cpu")
    with torch.inference_mode():
        ways = (lambda: by_onednn(side, side), lambda: side @ side.t())
        onednn, own = (min(_seconds(way) for _ in range(5)) for way in ways)
    return onednn < MARGIN * own


def _seconds(work: Callable[[], Tensor]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


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
