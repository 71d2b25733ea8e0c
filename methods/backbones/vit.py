"""Vision transformers with timm's state-dict keys (Dosovitskiy et al., ICLR 2021).

* `vit-b16`: ViT-B/16, of which few-shot hosts keep the first 10 of 12 blocks (FPTrans).
* `deit-b16`: the distilled DeiT-B/16 with its second special token, 11 of 12 blocks (FPTrans).
* `vit-mini`: narrow and shallow, for the mini suite.

The patch embedding is stage 1, every block a stage after it; the final normalisation closes the
last block that was built, as in FPTrans, and leaves the special tokens out. There is one
resolution, so there is no pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import UserError

from .transformer import Transformer, built_blocks, square_side, take_grid
from .transformer_blocks import TransformerBlock

NORM_EPS = 1e-6
UNUSED = ("head.", "head_dist.", "blocks.10.", "blocks.11.")
"""What published files hold beyond the transformers that few-shot hosts keep."""


@dataclass(frozen=True, slots=True)
class ViTPlan:
    """What distinguishes one transformer from another."""

    width: int  # channels of a token
    heads: int  # of each attention
    depth: int  # blocks that are kept
    published_depth: int  # blocks in pretrained files
    patch: int  # side of a patch in image pixels
    grid: int  # side of the position embedding, in patches, as constructed
    distilled: bool = False  # whether a distillation token follows the class token


PLANS = {
    "vit-b16": ViTPlan(768, 12, 10, 12, patch=16, grid=24),
    "deit-b16": ViTPlan(768, 12, 11, 12, patch=16, grid=24, distilled=True),
    "vit-mini": ViTPlan(96, 3, 6, 6, patch=16, grid=8),
}


class ViT(Transformer):
    """A vision transformer with a learnt position per patch; see `Transformer`.

    Images of any multiple of the patch size are taken: the position embedding is resampled
    (bicubic) to their grid. A file may hold it for any square grid.
    """

    elastic = ("pos_embed",)

    def __init__(self, plan: ViTPlan, *, until: str = "semantic"):
        depth = built_blocks(plan.depth, until)
        super().__init__(
            [TransformerBlock(plan.width, plan.heads, eps=NORM_EPS) for _ in range(depth)],
            width=plan.width,
            patch=plan.patch,
            prefix=2 if plan.distilled else 1,
            eps=NORM_EPS,
        )
        self.plan = plan
        self.cls_token = nn.Parameter(torch.empty(1, 1, plan.width))
        if plan.distilled:
            self.dist_token = nn.Parameter(torch.empty(1, 1, plan.width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.prefix + plan.grid**2, plan.width))
        unbuilt = range(depth, plan.published_depth)
        self.unused_keys = ("head.", "head_dist.", *(f"blocks.{index}." for index in unbuilt))
        self.initialise()
        self.register_load_state_dict_pre_hook(take_grid)

    def sized(self, images: Tensor) -> Tensor:
        """See `Backbone.sized`.

        Raises:
            UserError: if they are no whole number of patches high and wide.
        """
        images = super().sized(images)
        side = self.plan.patch
        height, width = images.shape[-2:]
        if height % side or width % side:
            raise UserError(
                f"images of {height}x{width} pixels do not divide into patches of {side}x{side}",
                hint=f"use sides that are multiples of {side}",
            )
        return images

    def tokens(self, maps: Tensor) -> Tensor:
        """See `Transformer.tokens`."""
        special = [self.cls_token, self.dist_token] if self.plan.distilled else [self.cls_token]
        rows = [token.expand(len(maps), -1, -1) for token in special]
        positions = self.positions((maps.shape[-2], maps.shape[-1]))
        return torch.cat((*rows, maps.flatten(2).transpose(1, 2)), dim=1) + positions

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The position embedding [1, P + h*w, C] of a grid of `size`, resampled if need be."""
        side = square_side(self.pos_embed, self.prefix)
        if size == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, self.prefix :].transpose(1, 2).unflatten(2, (side, side))
        grid = F.interpolate(grid, size, mode="bicubic", align_corners=False)
        return torch.cat((self.pos_embed[:, : self.prefix], grid.flatten(2).transpose(1, 2)), dim=1)


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> ViT:
    """The transformer of that card name; it has no dilated form and no pyramid."""
    del output_stride
    return ViT(PLANS[name], until=until)
