"""The size at which a backbone sees an image, where it is not the domain's evaluation size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, side: int) -> Tensor:
    """[N, 3, H, W] -> [N, 3, side, side], bilinear; 0 leaves them as they are.

    Args:
        images: ImageNet-normalised.
        side: in pixels.
    """
    if side in (0, images.shape[-1]) and side in (0, images.shape[-2]):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False)
