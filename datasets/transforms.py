"""From a decoded file to the published tensor, bit for bit.

Images: `PIL.Image.resize((side, side), BILINEAR)`, which is what torchvision's `Resize` does to a
PIL image (antialiased when it shrinks), then `/ 255` and the ImageNet normalisation in float32.
Up to Pillow 12 it narrows first; from Pillow 13 on it shortens tall pictures first, which rounds
other pixels. Here it narrows first under every version, as when the protocol was published.
Masks: `>= 128`, then the legacy nearest rule of `torch.nn.functional.interpolate`, whose source
index is `floor(float32(i) * float32(in / out))`; float64 or integer arithmetic differs for 474
sides between 20 and 6000 (PATNet `data/dataset.py`, `data/isic.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import torch

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
MASK_THRESHOLD = 128

TRANSFORM_VERSION = 2
"""Enters every cache key: bump when any pixel of a transformed file changes."""


def resized_image(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """`image` as uint8 RGB [side, side, 3]; the aspect ratio is ignored, as published."""
    rgb = image.convert("RGB")
    narrowed = rgb.resize((side, rgb.height), Image.Resampling.BILINEAR)
    return np.asarray(narrowed.resize((side, side), Image.Resampling.BILINEAR))


def nearest_indices(length: int, side: int) -> NDArray[np.intp]:
    """Source index of each of `side` output positions along an axis of `length` pixels."""
    scale = np.float32(length) / np.float32(side)
    floored = np.floor(np.arange(side, dtype=np.float32) * scale).astype(np.intp)
    return np.minimum(floored, length - 1)


def resized_labels(labels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A label map [H, W] brought to [side, side] by the published nearest rule."""
    height, width = labels.shape
    return labels[np.ix_(nearest_indices(height, side), nearest_indices(width, side))]


def binary_mask(image: Image.Image) -> NDArray[np.uint8]:
    """A grey or RGB mask file as 0/1 [H, W]; RGB is turned to grey before the threshold."""
    return (np.asarray(image.convert("L")) >= MASK_THRESHOLD).astype(np.uint8)


def normalised(images: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [..., H, W, 3] -> float32 [..., 3, H, W], ImageNet-normalised."""
    import torch

    # np.array copies: cached pictures are read-only maps, which torch cannot wrap.
    tensor = torch.from_numpy(np.array(images)).movedim(-1, -3).to(torch.float32).div_(255)
    mean = torch.tensor(IMAGE_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD).view(3, 1, 1)
    return tensor.sub_(mean).div_(std).contiguous()
