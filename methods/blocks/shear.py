"""Shears of images, masks and feature maps about their centre, nearest neighbour, zeros outside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cdfss_bench.transfer import onto

Shear = tuple[int, int]
"""Degrees along x and along y."""


def sources(shear: Shear, size: tuple[int, int]) -> Tensor:
    """For each cell of a sheared map the flat index of the cell it shows, int64 [h * w].

    The x shear is applied to the position that the y shear gives, as torchvision's `affine` does.
    A cell that shows nothing of the map has the index h * w. All is on the host.
    """
    height, width = size
    along_x, along_y = (math.tan(math.radians(degrees)) for degrees in shear)
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2)[:, None]
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2)[None]
    column = ((1 + along_x * along_y) * x + along_x * y + width / 2 - 0.5).round().long()
    row = (along_y * x + y + height / 2 - 0.5).round().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.where(inside, row * width + column, height * width).flatten()


def sheared(maps: Tensor, shear: Shear) -> Tensor:
    """`maps` [..., h, w] sheared, 0 where they end."""
    height, width = maps.shape[-2:]
    index = onto(sources(shear, (height, width)), maps.device)
    flat = torch.cat((maps.flatten(-2), maps.new_zeros((*maps.shape[:-2], 1))), -1)
    return flat[..., index].unflatten(-1, (height, width))


def drawn_shears(count: int, limit: int, rng: torch.Generator) -> list[Shear]:
    """`count` shears of whole degrees, uniform in [-limit, limit], x before y."""
    degrees = torch.randint(-limit, limit + 1, (count, 2), generator=rng, device=rng.device)
    return [(x, y) for x, y in degrees.tolist()]
