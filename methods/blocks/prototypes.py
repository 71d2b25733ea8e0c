"""Masked means of features: prototypes, and the cosine maps made with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

COSINE_SCALE = 10.0
"""Factor of the cosines in a score map (SSP `model/SSP_matching.py`)."""


def resized_masks(masks: Tensor, maps: Tensor) -> Tensor:
    """[N, H, W] -> float [N, 1, h, w], the size of `maps` [..., h, w].

    Bilinear with aligned corners, so soft at the border, as published everywhere.
    """
    size = (maps.shape[-2], maps.shape[-1])
    return F.interpolate(masks[:, None].float(), size, mode="bilinear", align_corners=True)


def nearest_masks(masks: Tensor, maps: Tensor) -> Tensor:
    """[N, H, W] -> [N, h, w] of the same values, the size of `maps` [..., h, w].

    Nearest neighbour as torch spells it, rounding down (FPTrans, HSLNet). What is pooled with
    such masks is pooled without a soft border.
    """
    size = (maps.shape[-2], maps.shape[-1])
    return F.interpolate(masks[:, None].float(), size, mode="nearest")[:, 0]


def masked_mean(features: Tensor, masks: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Mean of `features` [N, C, h, w] where `masks` [N, H, W] is set: [N, C].

    An empty mask gives the zero vector (SSP `masked_average_pooling`, eps 1e-5; PATNet and
    FPTrans use 1e-6).
    """
    weights = resized_masks(masks, features)
    return (features * weights).sum((2, 3)) / (weights.sum((2, 3)) + eps)


def fore_and_background(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Prototypes [N, C] of foreground (mask 1) and background (mask 0); 255 counts for neither."""
    return masked_mean(features, masks == 1), masked_mean(features, masks == 0)


def cosine_scores(
    features: Tensor, fore: Tensor, back: Tensor, *, scale: float = COSINE_SCALE
) -> Tensor:
    """Logits [B, 2, h, w], channel 0 background: `scale` x cosine to each prototype.

    A prototype is [B, C, 1, 1], or [B, C, h, w] with one per position.
    """
    to_back = F.cosine_similarity(features, back, dim=1)
    to_fore = F.cosine_similarity(features, fore, dim=1)
    return scale * torch.stack((to_back, to_fore), dim=1)
