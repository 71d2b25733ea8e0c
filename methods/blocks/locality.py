"""Perceptual Gaussian refinement (PGR): attention between patches pulled to their neighbourhood.

HERA (CVPR 2026), `ModifiedAttention` with `dual_attn_gauss`: how spread out the queries and the
keys of a head are decides how near and how strong the pull is. The mass that a patch gives to all
patches together stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TEMPERATURE = 1.8
"""Of the gate between the two priors."""
NEAR, FAR = 3.0, 5.0
"""Standard deviations of the key's and the query's prior, in patches."""
WEAK, STRONG = 0.25, 0.45
"""Strength of the pull where keys, or queries, are the more concentrated."""
PATCH_SHARE = 0.8
"""Of the patches in a head's entropy; the registers have the rest."""
TINY = 1e-8
FLOOR = 1e-12
NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Pull:
    """What the heads of an attention do, each [N, heads].

    Entropies of the queries among patches and of the keys, the share of the near prior, and the
    strength of the pull.
    """

    entropy_q: Tensor
    entropy_k: Tensor
    gate: Tensor
    strength: Tensor


def pull_of(query: Tensor, key: Tensor, *, registers: int) -> Pull:
    """The gate and strength of each head, read from what its queries and keys look at.

    Both are [N, heads, 1 + R + P, d], after any rotation: of the class token, R registers (none
    give the patches all the weight) and P patches.
    """
    patches = key[:, :, 1 + registers :]
    entropy_q = _entropy(query[:, :, 1:], patches, registers)
    entropy_k = _entropy(key[:, :, 1:], patches, registers)
    gate = ((entropy_q - entropy_k) / TEMPERATURE).sigmoid()
    strength = (WEAK * gate + STRONG * (1 - gate)).clamp(WEAK, STRONG)
    return Pull(entropy_q, entropy_k, gate, strength)


def _entropy(rows: Tensor, patches: Tensor, registers: int) -> Tensor:
    """[N, heads]: mean entropy of rows [N, heads, R + P, d] among the patches."""
    weights = (rows @ patches.transpose(-2, -1) * rows.shape[-1] ** -0.5).softmax(-1)
    entropy = -(weights * weights.clamp_min(TINY).log()).sum(-1)
    of_patches = entropy[..., registers:].mean(-1)
    if registers == 0:
        return of_patches
    of_registers = entropy[..., :registers].mean(-1)
    return PATCH_SHARE * of_patches + (1 - PATCH_SHARE) * of_registers


def neighbourhood(grid: tuple[int, int], sigma: float, like: Tensor) -> Tensor:
    """Rows [P, P] of a Gaussian of the distance between the patches of a grid (h, w).

    Far patches are floored before the rows are divided by their sum, so that their penalty is
    bounded.
    """
    axes = [torch.arange(side, device=like.device, dtype=like.dtype) for side in grid]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 2)
    squared = (places[:, None] - places[None]).square().sum(-1)
    prior = (-squared / (2 * sigma**2)).exp().clamp_min(TINY)
    return prior / (prior.sum(-1, keepdim=True) + NORM_EPS)


def pulled_attention(
    query: Tensor,
    key: Tensor,
    grid: tuple[int, int],
    *,
    registers: int,
    pull: Pull | None = None,
) -> Tensor:
    """Attention probabilities [N, heads, T, T] with the block between patches pulled.

    `z softmax(log A + alpha log prior)`, z the mass of a row in that block. Rows and columns of
    class token and registers stay as they are. Queries and keys are those of `pull_of`, whose pull
    is taken unless one is given; the published code takes square grids (h, w) only.
    """
    pull = pull_of(query, key, registers=registers) if pull is None else pull
    first = 1 + registers
    near, far = neighbourhood(grid, NEAR, query), neighbourhood(grid, FAR, query)
    gate = pull.gate[..., None, None]
    prior = gate * near + (1 - gate) * far
    attention = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
    block = attention[..., first:, first:]
    mass = block.sum(-1, keepdim=True)
    logits = block.clamp_min(FLOOR).log()
    logits = logits + pull.strength[..., None, None] * prior.clamp_min(TINY).log()
    attention = attention.clone()
    attention[..., first:, first:] = mass * logits.softmax(-1)
    return attention


def patch_graph(attention: Tensor, *, first: int) -> Tensor:
    """How patches attend to each other, [N, P, P]: mean of the heads, symmetric, rows of sum 1.

    `attention` is [N, heads, first + P, first + P], class token and registers first.
    """
    mean = attention[..., first:, first:].mean(1)
    both = 0.5 * (mean + mean.transpose(-2, -1))
    return both / (both.sum(-1, keepdim=True) + NORM_EPS)
