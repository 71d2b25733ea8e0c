"""The hypercorrelation of a support with itself, whose gradient takes one product back, not two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..blocks.correlation import EPS
from ..blocks.prototypes import resized_masks

_NOTHING = 1e-30


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
