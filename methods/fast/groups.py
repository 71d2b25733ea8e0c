"""Group normalisation as an affine map per channel, from sums over more than what is stored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def group_affine(
    values: Tensor, bias: Tensor, norm: nn.GroupNorm, positions: int
) -> tuple[Tensor, Tensor]:
    """What group normalisation of `values + bias` comes to: `values * scale + shift`, [C] each.

    Args:
        values: [n, C, N] without bias; the other `positions - n` positions are zero.
        bias: [C].
        norm: its groups and parameters.
        positions: of the whole volume.

    Sums are taken in fp32 along a map and combined in fp64: E[x^2] - E[x]^2 then keeps its digits.
    """
    sums = values.sum(2).sum(0, dtype=torch.float64)
    squares = torch.linalg.vector_norm(values, dim=2).double().square().sum(0)
    return affine_of_sums(sums, squares, bias, norm, positions * values.shape[2])


def affine_of_sums(
    sums: Tensor, squares: Tensor, bias: Tensor, norm: nn.GroupNorm, count: int
) -> tuple[Tensor, Tensor]:
    """As `group_affine`, from per-channel sums and sums of squares (fp64 [C]) over `count` each."""
    b = bias.double()
    total = (sums + count * b).view(norm.num_groups, -1)
    square = (squares + 2 * b * sums + count * b * b).view(norm.num_groups, -1)
    members = count * total.shape[1]
    mean = total.sum(1) / members
    variance = square.sum(1) / members - mean * mean
    inverse = (variance.clamp_min(0) + norm.eps).rsqrt()
    spread = len(b) // norm.num_groups
    scale = norm.weight.detach().double() * inverse.repeat_interleave(spread)
    shift = norm.bias.detach().double() + (b - mean.repeat_interleave(spread)) * scale
    return scale.to(bias.dtype), shift.to(bias.dtype)


def normalised(rows: Tensor, bias: Tensor, norm: nn.GroupNorm, positions: int) -> Tensor:
    """Group normalisation of `rows + bias`, then ReLU; with a gradient for the rows alone.

    Args:
        rows: [N, positions * C] in which `positions` maps of C channels lie side by side; written
            over where no gradient is asked.
        bias: [C].
        norm: of C channels.
        positions: over which, as over the rows, the statistics are taken.
    """
    if rows.requires_grad:
        found = _NormalisedRows.apply(rows, bias, norm, positions)
        assert isinstance(found, Tensor)
        return found.relu_()
    sums, squares = sums_of(rows, positions)
    affine = affine_of_sums(sums, squares, bias, norm, positions * len(rows))
    scale, shift = (part.repeat(positions) for part in affine)
    return torch.addcmul(shift, rows, scale, out=rows).relu_()


class _NormalisedRows(torch.autograd.Function):
    """Written out because torch's own operations would walk over the maps three times as often."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor, norm: nn.GroupNorm, positions: int) -> Tensor:
        sums, squares = sums_of(rows, positions)
        with torch.enable_grad():
            given = [part.requires_grad_() for part in (sums, squares)]
            found = affine_of_sums(sums, squares, bias, norm, positions * len(rows))
        scale, shift = (part.detach().repeat(positions) for part in found)
        ctx.save_for_backward(rows, scale)
        ctx.given, ctx.found, ctx.positions = given, found, positions
        return torch.addcmul(shift, rows, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """The rows act on the result directly, and on every row through two sums."""
        rows, scale = ctx.saved_tensors
        to_shift = grads[0].sum(0).view(ctx.positions, -1).sum(0)
        to_scale = (grads[0] * rows).sum(0).view(ctx.positions, -1).sum(0)
        by_sum, by_square = (
            part.to(rows.dtype).repeat(ctx.positions)
            for part in torch.autograd.grad(ctx.found, ctx.given, (to_scale, to_shift))
        )
        result = torch.addcmul(by_sum, rows, 2 * by_square).addcmul_(grads[0], scale)
        return result, None, None, None


def sums_of(rows: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """Sums and sums of squares (fp64 [C]) of rows [N, positions * C], over rows and positions."""
    found = rows.sum(0), rows.square().sum(0)
    sums, squares = (part.double().view(positions, -1).sum(0) for part in found)
    return sums, squares
