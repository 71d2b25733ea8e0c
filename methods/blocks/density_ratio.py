"""How much more densely a feature lies among foreground anchors than among background (FROST)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cdfss_bench.transfer import onto

BANDWIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Among which FROST chooses."""
CHUNK = 1024
"""Anchors that are compared at once with all others."""


def log_ratio(points: Tensor, fore: Tensor, back: Tensor, bandwidth: float | Tensor) -> Tensor:
    """Logarithm of the ratio of two kernel densities at each of the `points` [N, C], [N].

    Points and anchors ([n, C] and [m, C]) have length 1. The kernel is `exp((cosine - 1) /
    bandwidth)`; each density is divided by its number of anchors.
    """
    parts: list[Tensor] = []
    for rows in points.split(CHUNK):
        one, other = (
            ((rows @ anchors.mT - 1) / bandwidth).logsumexp(1) - math.log(len(anchors))
            for anchors in (fore, back)
        )
        parts.append(one - other)
    return torch.cat(parts)


def margins(fore: Tensor, back: Tensor, bandwidths: Sequence[float] = BANDWIDTHS) -> Tensor:
    """How well each bandwidth tells the anchors' classes apart when each is left out, [bandwidths].

    Anchors are [n, C] and [m, C], of length 1. It is the mean log ratio at foreground anchors minus
    that at background anchors; an anchor does not count for its own class. A class of one anchor,
    which is then without density, has no mean.
    """
    in_fore, in_back = _own_sums(fore, bandwidths), _own_sums(back, bandwidths)
    fore_in_back, back_in_fore = _cross_sums(fore, back, bandwidths)
    found = torch.zeros(len(bandwidths), dtype=torch.float64, device=fore.device)
    for own, other, count, others in (
        (in_fore, fore_in_back, len(fore), len(back)),
        (in_back, back_in_fore, len(back), len(fore)),
    ):
        if count > 1:
            ratio = own.log() - math.log(count - 1) - (other.log() - math.log(others))
            found += ratio.mean(1, dtype=torch.float64)
    return found


def best_bandwidth(fore: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """The bandwidth with the largest margin and that margin, both without dimensions."""
    margin, best = margins(fore, back).max(0)
    bandwidths = onto(torch.tensor(BANDWIDTHS, dtype=fore.dtype), fore.device)
    return bandwidths.gather(0, best[None])[0], margin


def _own_sums(anchors: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """Sums of the kernel over all other anchors of the class, [bandwidths, n].

    The products are symmetric: each pair of chunks is compared once.
    """
    sums = anchors.new_zeros(len(bandwidths), len(anchors))
    for start in range(0, len(anchors), CHUNK):
        rows = anchors[start : start + CHUNK]
        end = start + len(rows)
        closeness = rows @ anchors[start:].mT
        for at, kernel in enumerate(_kernels(closeness, bandwidths)):
            kernel[:, : len(rows)].fill_diagonal_(0)
            sums[at, start:end] += kernel.sum(1)
            sums[at, end:] += kernel[:, len(rows) :].sum(0)
    return sums


def _cross_sums(fore: Tensor, back: Tensor, bandwidths: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Sums of the kernel over the other class, [bandwidths, n] and [bandwidths, m]."""
    of_fore = fore.new_zeros(len(bandwidths), len(fore))
    of_back = back.new_zeros(len(bandwidths), len(back))
    for start in range(0, len(back), CHUNK):
        rows = back[start : start + CHUNK]
        closeness = rows @ fore.mT
        for at, kernel in enumerate(_kernels(closeness, bandwidths)):
            of_back[at, start : start + len(rows)] = kernel.sum(1)
            of_fore[at] += kernel.sum(0)
    return of_fore, of_back


def _kernels(closeness: Tensor, bandwidths: Sequence[float]) -> Iterator[Tensor]:
    """`exp((closeness - 1) / bandwidth)`, one after the other; never below exp(-40)."""
    for bandwidth in bandwidths:
        yield ((closeness - 1) / bandwidth).exp_()
