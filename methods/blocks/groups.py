"""Group normalisation as an affine map per channel, from sums over more than what is stored."""

from __future__ import annotations

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
