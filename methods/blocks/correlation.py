"""Hypercorrelations: cosine of every query position with every support position, per tap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPS = 1e-5


def directions(features: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, h*w], each position divided by (its norm + 1e-5)."""
    rows = features.flatten(2)
    return rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + EPS)


def hypercorrelation(query: Sequence[Tensor], support: Sequence[Tensor]) -> Tensor:
    """Correlations of query taps [B, C, hq, wq] with masked support taps [B, C, hs, ws].

    They are stacked, [B, taps, hq, wq, hs, ws], and negative ones cut to 0 (HSNet eq. 1,
    `model/base/correlation.py`).
    """
    maps: list[Tensor] = []
    for q, s in zip(query, support, strict=True):
        product = directions(q).transpose(1, 2) @ directions(s)
        maps.append(product.clamp(min=0).reshape(len(q), *q.shape[-2:], *s.shape[-2:]))
    return torch.stack(maps, dim=1)
