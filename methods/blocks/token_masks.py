"""Masks at the resolution of a feature map, where no object is lost (INSID3, FROST)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def token_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Which positions of a map of `size` show the object, bool [N, h, w], by masks [N, H, W].

    One at least where the mask has any pixel: bilinear (corners not aligned) and more than a half;
    where that leaves nothing, nearest neighbour; where that leaves nothing either, the position at
    the centroid of the mask. The published code divides the centroid by a whole number (`H // w`);
    here it is `H / h`, which is the same where the sides divide, and stays inside the map where
    they do not.
    """
    full = masks[:, None].float()
    found = F.interpolate(full, size, mode="bilinear", align_corners=False)[:, 0] > 0.5
    return never_lost(found, masks != 0)


def never_lost(found: Tensor, masks: Tensor) -> Tensor:
    """`found` bool [N, h, w]; where a row is empty, `masks` by nearest neighbour or centroid.

    Everything is computed for all rows, since to ask which are empty would make the host wait for
    an accelerator.
    """
    nearest = F.interpolate(masks[:, None].float(), found.shape[1:], mode="nearest")[:, 0] > 0.5
    found = torch.where(_any(found), found, nearest)
    count = masks.sum((1, 2))
    row, column = (
        (masks.sum(3 - dim) * torch.arange(masks.shape[dim], device=masks.device)).sum(1)
        * found.shape[dim]
        // (count * masks.shape[dim]).clamp(min=1)
        for dim in (1, 2)
    )
    centre = F.one_hot(row * found.shape[2] + column, found[0].numel()).bool().view_as(found)
    return torch.where(_any(found) | (count == 0)[:, None, None], found, centre)


def _any(found: Tensor) -> Tensor:
    return found.flatten(1).any(1)[:, None, None]
