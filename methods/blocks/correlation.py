"""Hypercorrelations: cosine of every query position with every support position, per tap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .prototypes import resized_masks

EPS = 1e-5
_NOTHING = 1e-30


def directions(features: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, h*w], each position divided by (its norm + 1e-5)."""
    rows = features.flatten(2)
    return rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + EPS)


def hypercorrelation(query: Sequence[Tensor], support: Sequence[Tensor]) -> Tensor:
    """Stacked correlations of one stage's taps: [B, taps, hq, wq, hs, ws], negative ones cut to 0.

    Args:
        query: taps [B, C, hq, wq].
        support: masked taps [B, C, hs, ws].

    Source: HSNet eq. 1, `model/base/correlation.py`.
    """
    maps: list[Tensor] = []
    for q, s in zip(query, support, strict=True):
        product = directions(q).transpose(1, 2) @ directions(s)
        maps.append(product.clamp(min=0).reshape(len(q), *q.shape[-2:], *s.shape[-2:]))
    return torch.stack(maps, dim=1)


def self_correlation(taps: Sequence[Tensor], masks: Tensor) -> Tensor:
    """`hypercorrelation` of taps [B, C, h, w] with themselves under masks [B, H, W].

    All that gradients pass on their way to the taps is one symmetric product: its diagonal holds
    the norms, and a masked position has its own direction, made shorter by what 1e-5 is beside it.
    """
    maps: list[Tensor] = []
    for tap in taps:
        soft = resized_masks(masks, tap).flatten(2)
        products = _Gram.apply(tap.flatten(2))
        assert isinstance(products, Tensor)
        # A root has no slope at zero.
        squares = products.diagonal(dim1=1, dim2=2).clamp_min(_NOTHING)
        norms = squares.sqrt().unsqueeze(1)
        asked, shown = 1 / (norms + EPS), soft / (soft * norms + EPS)
        cosines = products * asked.transpose(1, 2) * shown
        maps.append(cosines.clamp(min=0).reshape(len(tap), *tap.shape[-2:], *tap.shape[-2:]))
    return torch.stack(maps, dim=1)


class _Gram(torch.autograd.Function):
    """`x^T x` of [B, C, N]; autograd would take two products back, one for each x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.transpose(1, 2) @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x @ (grads[0] + grads[0].transpose(1, 2))
