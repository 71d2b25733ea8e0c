"""Prompting SAM with one image again and again: what goes in is in pixels of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cdfss_bench.transfer import onto

from .sam_decoder import Guide, MaskDecoder
from .sam_frames import Frame
from .sam_prompt import PromptEncoder

Pixel = tuple[int, int]
"""(x, y): column and row."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call of the decoder gave."""

    low: Tensor  # mask logits at 4 times the grid [M, 4g, 4g], as they can be a prompt
    high: Tensor  # the same at image size [M, H, W]
    scores: Tensor  # predicted IoU [M]
    box: tuple[int, int, int, int] | None  # of the prompt, (x0, y0, x1, y1)

    @property
    def best(self) -> int:
        """The mask of the highest score."""
        return int(self.scores.argmax())

    def of_best(self, masks: Tensor) -> Tensor:
        """What `masks` [M, h, w], one of the above, has for the highest score."""
        return masks.index_select(0, self.scores.argmax()[None])[0]


@dataclass(frozen=True, slots=True)
class PromptedImage:
    """One image that can be asked: SAM's other parts, its embedding [C, h, w], its frame."""

    prompts: PromptEncoder
    decoder: MaskDecoder
    embedding: Tensor
    frame: Frame

    def ask(
        self,
        points: Sequence[Pixel],
        labels: Sequence[int],
        *,
        box_of: Tensor | None = None,
        low: Tensor | None = None,
        several: bool = True,
        guide: Guide | None = None,
    ) -> Answer:
        """The masks for a prompt.

        Args:
            points: pixels of the image.
            labels: of the points: 1 in the object, 0 outside.
            box_of: a mask [H, W] whose bounding box is part of the prompt; an empty one has none.
            low: logits [4g, 4g] of an earlier answer, as mask prompt.
            several: three masks, or one.
            guide: of the decoder's attention (PerSAM).
        """
        device, grid = self.embedding.device, self.embedding.shape[-2:]
        box = None if box_of is None else bounding_box(box_of)
        corners = None
        if box is not None:
            corners = self._placed([box[:2], box[2:]]).flatten()[None]
        sparse, dense = self.prompts(
            frame=self.frame.square,
            grid=(grid[0], grid[1]),
            points=self._placed(points)[None],
            labels=onto(torch.tensor(labels), device)[None],
            boxes=corners,
            masks=None if low is None else low[None, None],
        )
        positions = self.prompts.dense_positions((grid[0], grid[1]))
        masks, scores = self.decoder(
            self.embedding[None], positions, sparse, dense, several=several, guide=guide
        )
        return Answer(masks[0], self.frame.restored(masks)[0], scores[0], box)

    def _placed(self, pixels: Sequence[Pixel]) -> Tensor:
        return onto(self.frame.scaled(torch.tensor(pixels)).float(), self.embedding.device)


def bounding_box(mask: Tensor) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1) of a mask bool [H, W], the last pixels included; None if it is empty."""
    # Both axes are read together: the host waits for an accelerator once.
    seen = torch.cat((mask.any(1), mask.any(0))).cpu()
    rows, columns = (axis.nonzero()[:, 0] for axis in seen.split(mask.shape))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def pixels_of(maps: Tensor) -> tuple[Pixel, Pixel]:
    """Where a map [H, W] is highest and lowest; of equal ones the first, row by row."""
    flat = maps.flatten()
    places = torch.arange(len(flat), device=maps.device)
    # Not argmax, which on an accelerator gives any of equal ones.
    found = [places.where(flat == extreme, len(flat)).min() for extreme in (flat.max(), flat.min())]
    highest, lowest = (divmod(place, maps.shape[1]) for place in torch.stack(found).tolist())
    return highest[::-1], lowest[::-1]


def pixel_of(maps: Tensor, *, highest: bool = True) -> Pixel:
    """One of `pixels_of`."""
    return pixels_of(maps)[0 if highest else 1]
