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
    scale, shift, *_ = _affine(sums, squares, bias.double(), norm, count)
    return scale.to(bias.dtype), shift.to(bias.dtype)


def _affine(
    sums: Tensor, squares: Tensor, bias: Tensor, norm: nn.GroupNorm, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale and shift [C], mean and inverse deviation [groups], all in fp64."""
    groups = norm.num_groups
    total = sums + count * bias
    square = squares + bias * (sums + total)
    members = count * (len(bias) // groups)
    mean = total.view(groups, -1).sum(1) / members
    variance = square.view(groups, -1).sum(1) / members - mean * mean
    inverse = (variance.clamp_min(0) + norm.eps).rsqrt()
    scale = norm.weight.detach().double().view(groups, -1) * inverse[:, None]
    centred = bias.view(groups, -1) - mean[:, None]
    shift = torch.addcmul(norm.bias.detach().double().view(groups, -1), centred, scale)
    return scale.view(-1), shift.view(-1), mean, inverse


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
        count = positions * len(rows)
        found, shift, mean, inverse = _affine(sums, squares, bias.double(), norm, count)
        scale = found.to(rows.dtype).repeat(positions)
        ctx.save_for_backward(rows, scale, bias, found, mean, inverse)
        ctx.norm, ctx.positions = norm, positions
        return torch.addcmul(shift.to(rows.dtype).repeat(positions), rows, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """The rows act on the result directly, and on every row through mean and deviation."""
        rows, scale, bias, found, mean, inverse = ctx.saved_tensors
        groups, positions, norm = ctx.norm.num_groups, ctx.positions, ctx.norm
        shape = (positions, groups, -1)
        members = positions * len(rows) * (len(bias) // groups)
        to_shift = grads[0].sum(0).double().view(shape).sum(0)
        to_scale = (grads[0] * rows).sum(0).double().view(shape).sum(0)
        own = bias.double().view(groups, -1)
        to_scale = torch.addcmul(to_scale, to_shift, own - mean[:, None])
        weight = norm.weight.detach().double().view(groups, -1)
        to_variance = (to_scale * weight).sum(1) * inverse**3 * (-0.5 / members)
        to_mean = (to_shift * found.view(groups, -1)).sum(1).div(-members)
        to_mean = torch.addcmul(to_mean, to_variance, mean, value=-2)
        by_sum = torch.addcmul(to_mean[:, None], to_variance[:, None], own, value=2)
        by_square = (2 * to_variance).repeat_interleave(len(bias) // groups)
        by_sum, by_square = (
            part.flatten().to(rows.dtype).repeat(positions) for part in (by_sum, by_square)
        )
        result = torch.addcmul(by_sum, rows, by_square).addcmul_(grads[0], scale)
        return result, None, None, None


def sums_of(rows: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """Sums and sums of squares (fp64 [C]) of rows [N, positions * C], over rows and positions."""
    found = rows.sum(0), rows.square().sum(0)
    sums, squares = (part.double().view(positions, -1).sum(0) for part in found)
    return sums, squares
