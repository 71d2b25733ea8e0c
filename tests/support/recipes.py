"""Inputs that `reference/new/vectors.json` words as recipes: episodes, and maps with an object."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dino_vectors import NewVectors

Recipe = Mapping[str, Any]
"""One input of a case, as the manifest describes it."""


class Maps(NamedTuple):
    """Maps of K supports and, last, of the query.

    Attributes:
        masks: [K + 1, 8h, 8w].
        tokens: [K + 1, C, h, w], or residuals [K + 1, L, C, h, w].
        beside: of tokens the black image's map [C, h, w], of residuals the last block's maps
            [K + 1, C, h, w].
    """

    masks: Tensor
    tokens: Tensor
    beside: Tensor


def pictures(vectors: NewVectors, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Images [n, 3, H, W] with an object of one tone, and their masks [n, H, W]."""
    name, count, height, width, gain = (recipe[key] for key in ("N", "n", "H", "W", "gain"))
    found = vectors.input(f"{name}.image", (count, 3, height, width))
    masks = vectors.input(f"{name}.mask", (count, height, width), "mask")
    tone = vectors.input(f"{name.partition('/')[0]}.tone", (3, 1, 1))
    tone = tone / tone.square().mean().sqrt()
    pictures = found + gain * tone * masks[:, None]
    emptied = str(recipe.get("mask", "")).startswith("replaced by zeros")
    return pictures, torch.zeros_like(masks) if emptied else masks


def stated_mask(text: str, height: int, width: int) -> Tensor:
    """The mask [H, W] that a case has in the place of the drawn one, from its words."""
    if text.endswith("= 1 everywhere"):
        return torch.ones(height, width)
    found = re.search(r"rows? (\d+)(?:\.\.(\d+))?, columns (\d+)\.\.(\d+)", text)
    assert found is not None, text
    top, bottom, left, right = (int(number) for number in found.groups(found[1]))
    mask = torch.zeros(height, width)
    mask[top : bottom + 1, left : right + 1] = 1
    return mask


def token_maps(vectors: NewVectors, recipe: Recipe) -> Maps:
    """Token maps with an object over four backgrounds."""
    name, shots, channels, height, width = (recipe[key] for key in ("N", "K", "C", "h", "w"))
    masks = vectors.input(f"{name}.mask", (shots + 1, 8 * height, 8 * width), "mask")
    basis = vectors.input(f"{name}.basis", (6, channels))
    low = F.avg_pool2d(masks[:, None], 8)
    y, x = torch.arange(height)[:, None], torch.arange(width)
    around = basis[1 + 2 * (2 * y // height) + 2 * x // width].permute(2, 0, 1)
    tokens = vectors.input(f"{name}.tokens", (shots + 1, channels, height, width))
    tokens = tokens + (1 - low) * around + 0.5 * basis[5][:, None, None]
    tokens = tokens + 1.4 * low * basis[0][:, None, None]
    black = vectors.input(f"{name}.black", (1, channels, height, width))[0]
    return Maps(masks, tokens, black)


def position(height: int, width: int) -> Tensor:
    """What two channels of `residual_maps` rise with, [h, w]."""
    return torch.linspace(-1, 1, height)[:, None] + 0.5 * torch.linspace(-1, 1, width)


def residual_maps(vectors: NewVectors, recipe: Recipe) -> Maps:
    """Attention residuals with an object, and two channels that carry position, for RSRM."""
    name, shots, layers = (recipe[key] for key in ("N", "K", "L"))
    channels, height, width = (recipe[key] for key in ("C", "h", "w"))
    masks = vectors.input(f"{name}.mask", (shots + 1, 8 * height, 8 * width), "mask")
    low = F.avg_pool2d(masks[:, None], 8)[:, None]
    residuals = vectors.input(f"{name}.A", (shots + 1, layers, channels, height, width))
    scale = 0.5 + vectors.input(f"{name}.s", (layers,), "uniform")
    tone = vectors.input(f"{name}.t", (layers, channels))[..., None, None]
    residuals = residuals * scale[:, None, None, None] + 0.5 * tone * low
    pair = [channels // 3, 2 * channels // 3]
    rise = 12 * vectors.input(f"{name}.p", (layers,), "uniform")[:, None, None, None]
    residuals[:, :, pair] += rise * position(height, width)
    last = vectors.input(f"{name}.Z", (shots + 1, channels, height, width))
    last[:, pair] += 5 * position(height, width)
    return Maps(masks, residuals, last)
