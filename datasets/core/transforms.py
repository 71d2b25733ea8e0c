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

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import torch

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
MASK_THRESHOLD = 128

TRANSFORM_VERSION = 3
"""Enters every cache key: bump when any pixel of a transformed file changes."""


def resized_image(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """`image` as uint8 RGB [side, side, 3]; the aspect ratio is ignored, as published."""
    rgb = eight_bits(image).convert("RGB")
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
    return (np.asarray(eight_bits(image).convert("L")) >= MASK_THRESHOLD).astype(np.uint8)


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has one channel of more than 8 bits, which Pillow would clip."""
    return image.mode == "F" or image.mode.startswith("I")


def eight_bits(image: Image.Image) -> Image.Image:
    """`image` with a deep channel scaled to 8 bits; any other picture as it is.

    Whole numbers are divided by the largest of their depth: 8, 12 or 16 bits, whichever holds the
    brightest pixel. Fractions count from 0 to 1 if they do not go beyond, else to 255.

    Raises:
        ValueError: for values below 0, beyond 16 bits, or that are no numbers.
    """
    if not is_deep(image):
        return image
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    depths = (1, 255) if image.mode == "F" else (255, 4095, 65535)
    top = next((depth for depth in depths if high <= depth), None)
    if not low >= 0 or top is None:
        raise ValueError(f"its values go from {low:g} to {high:g}, beyond any depth of a picture")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def normalised(images: NDArray[np.uint8], device: str = "cpu") -> torch.Tensor:
    """uint8 [..., H, W, 3] -> float32 [..., 3, H, W], ImageNet-normalised, the same on any device.

    Bytes travel to the device, which is a quarter of the floats and leaves the host free.
    """
    import torch

    from cdfss_bench.transfer import onto

    constants = _constants(device)
    white, mean, std = constants[0], constants[1:4].view(3, 1, 1), constants[4:].view(3, 1, 1)
    # np.array copies: cached pictures are read-only maps, which torch cannot wrap.
    pixels = onto(torch.from_numpy(np.array(images)), device).movedim(-1, -3)
    return pixels.to(torch.float32).div_(white).sub_(mean).div_(std).contiguous()


@cache
def _constants(device: str) -> torch.Tensor:
    import torch

    from cdfss_bench.transfer import onto

    # Tensors, not numbers: a GPU divides by a number as it multiplies by its rounded reciprocal.
    with torch.inference_mode(mode=False):
        return onto(torch.tensor((255.0, *IMAGE_MEAN, *IMAGE_STD)), device)
