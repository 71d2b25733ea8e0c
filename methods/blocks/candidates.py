"""Positions of a query that look like the object and whose likeness lies on it (INSID3, FROST)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 1024
"""Query positions that are compared at once with all positions of a reference."""
FALLBACK = 0.9
"""Quantile above which positions are taken where none is like the object at all."""


def alike(similarity: Tensor) -> Tensor:
    """Where `similarity` [N] is above zero, or where that is nowhere, above its 0.9 quantile."""
    above = similarity > 0
    return torch.where(above.any(), above, similarity > _quantile(similarity, FALLBACK))


def _quantile(values: Tensor, share: float) -> Tensor:
    """As `values.quantile(share)` of a vector, which would wait for an accelerator."""
    rank = float(torch.tensor(share, dtype=values.dtype) * (len(values) - 1))
    ordered, below = values.sort().values, math.floor(rank)
    return ordered[below].lerp(ordered[math.ceil(rank)], rank - below)


def agreeing(
    query: Tensor,
    references: Tensor,
    seen: Tensor,
    among: Tensor,
    *,
    neighbours: int = 1,
    least: int = 1,
) -> Tensor:
    """Those of the positions `among` whose best matches lie in the masks: bool [N].

    A reference agrees if, of the `neighbours` positions of it that have the largest products with
    the query's, `least` or more lie in its mask; half of the references must agree, rounded up. The
    products of a query with a reference are never there as a whole.

    Args:
        query: [C, N].
        references: [S, C, M].
        seen: bool [S, M], the references' masks.
        among: bool [N], the positions that are asked.
        neighbours: 1 in INSID3 (the first of equal ones), 3 in FROST.
        least: 1 in INSID3, 2 in FROST.
    """
    # All positions are compared: to learn which are asked the host would wait for an accelerator.
    needed = math.ceil(len(references) / 2)
    agree: list[Tensor] = []
    for rows in query.mT.contiguous().split(CHUNK):
        votes = torch.zeros(len(rows), dtype=torch.long, device=query.device)
        for reference, mask in zip(references, seen, strict=True):
            products = rows @ reference
            if neighbours == 1:
                votes += mask[products.argmax(1)]
            else:
                nearest = products.topk(min(neighbours, products.shape[1]), dim=1).indices
                votes += mask[nearest].sum(1) >= least
        agree.append(votes >= needed)
    return among & torch.cat(agree)


def mean_prototype(tokens: Tensor, seen: Tensor) -> Tensor:
    """The mean of the references' means inside their masks, [C]; zero where all are empty.

    A reference without any position inside its mask has no mean and is left out.

    Args:
        tokens: [S, C, M].
        seen: bool [S, M].
    """
    counts = seen.sum(1)
    sums = (tokens @ seen[..., None].to(tokens.dtype))[..., 0]
    means = sums / counts.clamp(min=1)[:, None]
    return means.sum(0) / (counts > 0).sum().clamp(min=1)
