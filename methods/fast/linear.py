"""Linear maps that know their own way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def applied(
    there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """`there(x)`, whose gradient is `back` of the result's; for `x` alone."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return there(x)
    found = _Linear.apply(x, there, back)
    assert isinstance(found, Tensor)
    return found


class _Linear(torch.autograd.Function):
    """Autograd's own way back goes through every operation of `there` and copies between them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.back = back
        return there(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(grads[0]), None, None
