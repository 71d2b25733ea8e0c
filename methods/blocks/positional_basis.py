"""What a feature map says of an image without content: directions that only tell positions apart.

INSID3 (CVPR 2026) and FROST (2026) show the encoder a black image, take the directions in which its
map varies most, and remove them from all features before they compare positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .augment import IMAGE_MEAN, IMAGE_STD


def black_images(size: tuple[int, int], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One black image, ImageNet-normalised: [1, 3, H, W].

    The paper speaks of noise; the published code shows zeros.
    """
    mean, std = (torch.tensor(v, device=device, dtype=dtype) for v in (IMAGE_MEAN, IMAGE_STD))
    return (-mean / std)[None, :, None, None].expand(1, 3, *size).contiguous()


def positional_basis(unit: Tensor, count: int, *, least: float = 0.0) -> Tensor:
    """The first left singular vectors of the centred map of a black image, [C, s].

    Computed in float64 on the CPU, so that every device has the same.

    Args:
        unit: the map, of length 1 at each position, [C, N].
        count: how many vectors, or all of them where there are fewer.
        least: only those whose singular value exceeds this share of the largest. On a convolutional
            network the map varies at the borders alone, and the vectors behind are arbitrary.
    """
    values = unit.detach().cpu().double()
    vectors, sizes, _ = torch.linalg.svd(values - values.mean(1, keepdim=True), full_matrices=False)
    kept = int((sizes > least * sizes[0]).sum()) if least else len(sizes)
    return vectors[:, : min(count, kept)].to(unit.device, unit.dtype)


def without(basis: Tensor | None, unit: Tensor) -> Tensor:
    """`unit` [..., C, N] without the directions `basis` [C, s], of length 1 again."""
    if basis is None:
        return unit
    return F.normalize(unit - basis @ (basis.mT @ unit), dim=-2)
