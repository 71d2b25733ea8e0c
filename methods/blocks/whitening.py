"""A linear map that evens out how features vary within foreground and background (FROST)."""

from __future__ import annotations

import torch
from torch import Tensor

SHRINKAGE = 0.95
"""Share of the mean variance in the covariance (FROST: 0.05 Sigma + 0.95 mean(diag) I)."""
LEAST_VARIANCE = 1e-6


def whitening(tokens: Tensor, seen: Tensor) -> Tensor | None:
    """The inverse root of the pooled covariance within the classes, [C, C].

    None where a class has no token. The covariance is put together and inverted in float64 on the
    CPU: the order of the references does not show, and every device has the same.

    Args:
        tokens: [S, C, M] of S references.
        seen: bool [S, M], where the foreground is.
    """
    counts = [int(seen.sum()), int((~seen).sum())]
    if min(counts) == 0:
        return None
    channels = tokens.shape[1]
    scatter = torch.zeros(channels, channels, dtype=torch.float64)
    sums = torch.zeros(2, channels, dtype=torch.float64)
    for one, mask in zip(tokens, seen, strict=True):
        scatter += (one @ one.mT).cpu().double()
        sums += (torch.stack((mask, ~mask)).to(one.dtype) @ one.mT).cpu().double()
    for total, count in zip(sums, counts, strict=True):
        scatter -= torch.outer(total, total) / count
    covariance = scatter / (sum(counts) - 2)
    level = SHRINKAGE * covariance.diagonal().mean()
    covariance = (1 - SHRINKAGE) * covariance
    covariance.diagonal().add_(level)
    sizes, vectors = torch.linalg.eigh(covariance)
    root = vectors @ (sizes.clamp(min=LEAST_VARIANCE) ** -0.5)[:, None].mul(vectors.mT)
    return root.to(tokens.device, tokens.dtype)
