"""A linear map that evens out how features vary within foreground and background (FROST)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SHRINKAGE = 0.95
"""Share of the mean variance in the covariance (FROST: 0.05 Sigma + 0.95 mean(diag) I)."""
LEAST_VARIANCE = 1e-6


def products(tokens: Tensor, seen: Tensor) -> Tensor:
    """What `whitening` needs of references, in one tensor that is brought to the host: [S, C+2, C].

    Products of all channels of `tokens` [S, C, M], then sums over the foreground, `seen` bool [S,
    M], and over the background.
    """
    return torch.stack(
        [
            torch.cat((one @ one.mT, torch.stack((mask, ~mask)).to(one.dtype) @ one.mT))
            for one, mask in zip(tokens, seen, strict=True)
        ]
    )


def whitening(parts: Tensor, counts: Sequence[int]) -> Tensor | None:
    """The inverse root of the pooled covariance within the classes, float64 [C, C] on the CPU.

    None where a class has no token. `parts` are the `products` of the references, `counts` those of
    their foreground and background tokens. The covariance is put together and inverted in float64
    on the CPU: the order of the references does not show, and every device has the same.
    """
    if min(counts) == 0:
        return None
    both = parts.double().sum(0)
    scatter, sums = both[:-2], both[-2:]
    for total, count in zip(sums, counts, strict=True):
        scatter -= torch.outer(total, total) / count
    covariance = scatter / (sum(counts) - 2)
    level = SHRINKAGE * covariance.diagonal().mean()
    covariance = (1 - SHRINKAGE) * covariance
    covariance.diagonal().add_(level)
    sizes, vectors = torch.linalg.eigh(covariance)
    return vectors @ (sizes.clamp(min=LEAST_VARIANCE) ** -0.5)[:, None].mul(vectors.mT)
