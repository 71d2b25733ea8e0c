"""DINOv2 and DINOv3 vision transformers with their published state-dict keys.

* `dinov2-s14`, `-b14`, `-l14` (Oquab et al., TMLR 2024) and the same with four registers, `-reg`
  (Darcet et al., ICLR 2024): patches of 14 pixels, a learnt position per patch of a 37 x 37 grid,
  resampled to the grid at hand.
* `dinov3-s16`, `-b16`, `-l16` (Simeoni et al., 2025): patches of 16 pixels, four storage tokens,
  rotary positions, keys without bias.

How methods read blocks, attention residuals and parts of a block: see `transformer`.

An image whose sides are no multiples of 14 is resized (bilinear) to the next ones for DINOv2, 400
to 406; `resize_to` chooses another size. DINOv3 leaves out what does not fill a patch at the right
and bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import resized
from .transformer import Transformer, built_blocks, square_side, take_grid
from .transformer_blocks import Rotation, TransformerBlock

GRID = 37
"""Side of DINOv2's position embedding: 518 pixels."""
REGISTERS = 4
V2_EPS, V3_EPS = 1e-6, 1e-5
OFFSET = 0.1
"""What DINOv2 without registers adds to the grid's sides before it resamples positions."""
BASE = 100.0
"""DINOv3's longest rotary period."""


@dataclass(frozen=True, slots=True)
class DinoPlan:
    """Channels of a token, heads of each attention, blocks, and whether DINOv2 has registers.

    DINOv3 always has them.
    """

    width: int
    heads: int
    depth: int
    registers: bool = False


_SIZES = {"s": (384, 6, 12), "b": (768, 12, 12), "l": (1024, 16, 24)}
V2_PLANS = {
    f"dinov2-{size}14{suffix}": DinoPlan(*numbers, registers=bool(suffix))
    for suffix in ("", "-reg")
    for size, numbers in _SIZES.items()
}
V3_PLANS = {f"dinov3-{size}16": DinoPlan(*numbers) for size, numbers in _SIZES.items()}


class DINOv2(Transformer):
    """DINOv2, with or without registers, which get no position and stand behind the class token."""

    elastic = ("pos_embed",)

    def __init__(self, plan: DinoPlan, *, until: str = "semantic"):
        depth = built_blocks(plan.depth, until)
        super().__init__(
            [
                TransformerBlock(plan.width, plan.heads, eps=V2_EPS, scaled=True)
                for _ in range(depth)
            ],
            width=plan.width,
            patch=14,
            prefix=1 + REGISTERS * plan.registers,
            eps=V2_EPS,
        )
        self.cls_token = nn.Parameter(torch.empty(1, 1, plan.width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + GRID**2, plan.width))
        if plan.registers:
            self.register_tokens = nn.Parameter(torch.empty(1, REGISTERS, plan.width))
        self.unplaced = self.prefix - 1
        self.unused_keys = ("mask_token", *(f"blocks.{i}." for i in range(depth, plan.depth)))
        self.initialise()
        self.register_load_state_dict_pre_hook(take_grid)

    def sized(self, images: Tensor) -> Tensor:
        """`images` [N, 3, H, W], resized (bilinear) to the next multiples of 14 if need be."""
        images = super().sized(images)
        height, width = (-(-side // self.patch) * self.patch for side in images.shape[-2:])
        return resized(images, (height, width))

    def tokens(self, maps: Tensor) -> Tensor:
        """See `Transformer.tokens`."""
        patches = maps.flatten(2).transpose(1, 2)
        positions = self.positions((maps.shape[-2], maps.shape[-1]))
        first = self.cls_token.expand(len(maps), -1, -1) + positions[:, :1]
        special = [first]
        if self.unplaced:
            special.append(self.register_tokens.expand(len(maps), -1, -1))
        return torch.cat((*special, patches + positions[:, 1:]), dim=1)

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The position embedding [1, 1 + h*w, C] of a grid of `size`, resampled if need be.

        Without registers by the factor `(side + 0.1) / 37` and plain bicubic; with registers to the
        size itself, antialiased.
        """
        side = square_side(self.pos_embed, 1)
        if size == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        if self.unplaced:
            grid = F.interpolate(grid, size, mode="bicubic", antialias=True)
        else:
            factors = [(length + OFFSET) / side for length in size]
            grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")
        return torch.cat((self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)


class RotaryPositions(nn.Module):
    """`rope_embed.periods`, of which the angles of every patch are made.

    Args:
        channels: of a head.
    """

    periods: Tensor

    def __init__(self, channels: int):
        super().__init__()
        exponents = torch.arange(channels // 4) * 2 / (channels / 2)
        self.register_buffer("periods", BASE**exponents)

    def forward(self, size: tuple[int, int]) -> Rotation:
        """Angles of a grid of `size`: each axis by its own length, centres in [-1, 1]."""
        axes = [
            2 * (torch.arange(length, device=self.periods.device) + 0.5) / length - 1
            for length in size
        ]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
        angles = 2 * torch.pi * places[:, :, None] / self.periods.float()
        angles = angles.flatten(1).repeat(1, 2)
        return Rotation(angles.sin(), angles.cos())


class MaskedLinear(nn.Linear):
    """The map to queries, keys and values, of which the keys have no bias.

    The bias counts as far as `bias_mask` (1, keys 0) says, which published files hold.
    """

    bias_mask: Tensor

    def __init__(self, width: int):
        super().__init__(width, 3 * width)
        mask = torch.ones(3, width)
        mask[1] = 0
        self.register_buffer("bias_mask", mask.flatten())

    def forward(self, input: Tensor) -> Tensor:
        """[N, T, C] -> [N, T, 3 * C]."""
        return F.linear(input, self.weight, self.bias * self.bias_mask)


class DINOv3(Transformer):
    """DINOv3, its four storage tokens behind the class token."""

    def __init__(self, plan: DinoPlan, *, until: str = "semantic"):
        depth = built_blocks(plan.depth, until)
        super().__init__(
            [
                TransformerBlock(
                    plan.width, plan.heads, eps=V3_EPS, scaled=True, qkv=MaskedLinear(plan.width)
                )
                for _ in range(depth)
            ],
            width=plan.width,
            patch=16,
            prefix=1 + REGISTERS,
            eps=V3_EPS,
        )
        self.cls_token = nn.Parameter(torch.empty(1, 1, plan.width))
        self.storage_tokens = nn.Parameter(torch.empty(1, REGISTERS, plan.width))
        self.rope_embed = RotaryPositions(plan.width // plan.heads)
        self.unused_keys = ("mask_token", *(f"blocks.{i}." for i in range(depth, plan.depth)))
        self.initialise()

    def tokens(self, maps: Tensor) -> Tensor:
        """See `Transformer.tokens`."""
        rows = [token.expand(len(maps), -1, -1) for token in (self.cls_token, self.storage_tokens)]
        return torch.cat((*rows, maps.flatten(2).transpose(1, 2)), dim=1)

    def rotation(self, size: tuple[int, int]) -> Rotation:
        """The rotary positions of a grid of `size`, the same in every block."""
        return self.rope_embed(size)


def build_v2(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> DINOv2:
    """The DINOv2 of that card name; it has no dilated form and no pyramid."""
    del output_stride
    return DINOv2(V2_PLANS[name], until=until)


def build_v3(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> DINOv3:
    """The DINOv3 of that card name; it has no dilated form and no pyramid."""
    del output_stride
    return DINOv3(V3_PLANS[name], until=until)
