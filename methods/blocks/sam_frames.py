"""The square that SAM sees of an image: enlarged, normalised, padded; and the way back.

SAM enlarges an 8-bit image with PIL until its long side is the encoder's, normalises it and pads
it below and right with zeros. Prompts are scaled in the same way. Masks come back in two bilinear
steps, to the square and from there to the image; one step would give other numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cdfss_bench.transfer import onto

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""SAM's, of values from 0 to 255: ImageNet's to the last digit."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The square of `side` pixels in which SAM sees an image of `size` (H, W) in pixels."""

    size: tuple[int, int]
    side: int

    @property
    def square(self) -> tuple[int, int]:
        """(side, side)."""
        return (self.side, self.side)

    @property
    def inner(self) -> tuple[int, int]:
        """(h, w) of the image in the square; what is left is padding."""
        scale = self.side / max(self.size)
        height, width = (int(old * scale + 0.5) for old in self.size)
        return (height, width)

    def pictured(self, normalised: Tensor) -> Tensor:
        """ImageNet-normalised images [N, 3, H, W] as SAM's input [N, 3, S, S].

        They are rounded to the 8-bit images that SAM is given.
        """
        mean, std = _constants(normalised)
        return self.input_of((normalised * std + mean).round().clamp(0, 255).to(torch.uint8))

    def input_of(self, images: Tensor) -> Tensor:
        """8-bit images [N, 3, H, W] as SAM's input, float32 [N, 3, S, S]."""
        return self.normalised(self.enlarged(images))

    def enlarged(self, images: Tensor) -> Tensor:
        """8-bit images [N, C, H, W] at the inner size, float32 from 0 to 255, as PIL resizes."""
        height, width = self.inner
        planes = images.flatten(0, 1).cpu().numpy()
        resized = [
            np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
            for plane in planes
        ]
        whole = onto(torch.from_numpy(np.stack(resized)), images.device).float()
        return whole.unflatten(0, images.shape[:2])

    def normalised(self, enlarged: Tensor) -> Tensor:
        """Images [N, C, h, w] from 0 to 255, already of the inner size, as input [N, C, S, S].

        A single channel is taken for the first.
        """
        channels = enlarged.shape[1]
        mean, std = (constant[:channels] for constant in _constants(enlarged))
        height, width = enlarged.shape[-2:]
        padding = (0, self.side - width, 0, self.side - height)
        return F.pad((enlarged - mean) / std, padding)

    def scaled(self, pixels: Tensor) -> Tensor:
        """Pixels (x, y) [..., 2] of the image as places in the square, float64."""
        (height, width), (rows, columns) = self.size, self.inner
        factors = torch.tensor((columns / width, rows / height), dtype=torch.float64)
        return pixels.double() * onto(factors, pixels.device)

    def restored(self, low: Tensor) -> Tensor:
        """Masks [N, C, h, w] of the square's grid at the image's size [N, C, H, W]."""
        height, width = self.inner
        square = F.interpolate(low, self.square, mode="bilinear", align_corners=False)
        inner = square[..., :height, :width]
        return F.interpolate(inner, self.size, mode="bilinear", align_corners=False)


def _constants(like: Tensor) -> Tensor:
    """Mean and deviation of the channels, [2, 3, 1, 1]."""
    return onto(torch.tensor((MEAN, STD), dtype=like.dtype), like.device)[..., None, None]
