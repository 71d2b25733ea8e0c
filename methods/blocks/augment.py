"""Random views of an annotated image: flips, quarter turns, brightness, contrast, hue.

IFA's augmentation (`ifa.py`, which calls albumentations), on tensors and from a private generator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cdfss_bench.transfer import onto

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""Of ImageNet: what the contract's images are normalised with."""

GEOMETRY = 0.5
"""Probability of each mirroring and of the turn."""
LIGHT = 0.5
"""Probability of a change of brightness and contrast."""
LIGHT_RANGE = 0.2
"""Largest change of the contrast's factor, and of the brightness as a share of white."""
HSV_RANGES = (20 / 180, 30 / 255, 20 / 255)
"""Largest change of hue (of a whole turn), saturation and value, as shares of their ranges."""


def view(image: Tensor, mask: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Another view of `image` [3, H, W] and its mask [H, W]: turned alike, the image recoloured."""
    image, mask = _turned(image, mask, rng)
    constants = onto(torch.tensor((IMAGE_MEAN, IMAGE_STD), dtype=image.dtype), image.device)
    mean, std = constants[..., None, None]
    coloured = _recoloured(image * std + mean, rng)
    return (coloured - mean) / std, mask


def _turned(image: Tensor, mask: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    for axis in (-1, -2):
        if _uniform(rng) < GEOMETRY:
            image, mask = image.flip(axis), mask.flip(axis)
    if _uniform(rng) < GEOMETRY:
        quarters = int(torch.randint(4, (), generator=rng))
        if mask.shape[-1] != mask.shape[-2]:
            quarters = quarters // 2 * 2  # a quarter turn would not fit
        image = torch.rot90(image, quarters, (-2, -1))
        mask = torch.rot90(mask, quarters, (-2, -1))
    return image, mask


def _recoloured(image: Tensor, rng: torch.Generator) -> Tensor:
    """`image` [3, H, W] of red, green, blue in [0, 1]."""
    if _uniform(rng) < LIGHT:
        contrast = 1 + _uniform(rng, LIGHT_RANGE)
        image = (contrast * image + _uniform(rng, LIGHT_RANGE)).clamp(0, 1)
    turn, saturation, value = (_uniform(rng, limit) for limit in HSV_RANGES)
    hue, saturated, lightness = to_hsv(image.clamp(0, 1))
    hue = (hue + turn) % 1
    return from_hsv(hue, (saturated + saturation).clamp(0, 1), (lightness + value).clamp(0, 1))


def to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue (a whole turn is 1), saturation and value, each [H, W] in [0, 1], of RGB in [0, 1]."""
    red, green, blue = image
    value, low = image.amax(0), image.amin(0)
    spread = value - low
    safe = torch.where(spread > 0, spread, 1)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = torch.where(spread > 0, (sector / 6) % 1, 0)
    return hue, torch.where(value > 0, spread / value.clamp_min(1e-12), 0), value


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB [3, H, W]; `to_hsv` undone."""
    channels = [
        value - value * saturation * torch.minimum(sector, 4 - sector).clamp(0, 1)
        for sector in ((offset + 6 * hue) % 6 for offset in (5, 3, 1))
    ]
    return torch.stack(channels)


def _uniform(rng: torch.Generator, limit: float | None = None) -> float:
    """From [0, 1), or from [-limit, limit)."""
    drawn = float(torch.rand((), generator=rng))
    return drawn if limit is None else limit * (2 * drawn - 1)
