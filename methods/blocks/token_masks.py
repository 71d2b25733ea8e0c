"""Masks at the resolution of a feature map, where no object is lost (INSID3, FROST)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def token_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Which positions of a map show the object; one at least where the mask has any pixel.

    Bilinear (corners not aligned) and more than a half; where that leaves nothing, nearest
    neighbour; where that leaves nothing either, the position at the centroid of the mask. The
    published code divides the centroid by a whole number (`H // w`); here it is `H / h`, which is
    the same where the sides divide, and stays inside the map where they do not.

    Args:
        masks: [N, H, W] of 0 and 1.
        size: (h, w) of the map.

    Returns:
        Bool [N, h, w].
    """
    full = masks[:, None].float()
    found = F.interpolate(full, size, mode="bilinear", align_corners=False)[:, 0] > 0.5
    nearest = F.interpolate(full, size, mode="nearest")[:, 0] > 0.5
    for index in (~found.flatten(1).any(1)).nonzero()[:, 0].tolist():
        if bool(nearest[index].any()):
            found[index] = nearest[index]
            continue
        places = masks[index].nonzero()
        if len(places):
            row, column = (
                int(total) * side // (len(places) * whole)
                for total, side, whole in zip(
                    places.sum(0).tolist(), size, masks.shape[1:], strict=True
                )
            )
            found[index, row, column] = True
    return found
