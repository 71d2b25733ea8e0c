"""Vision transformers with timm's state-dict keys (Dosovitskiy et al., ICLR 2021).

* `vit-b16`: ViT-B/16, of which few-shot hosts keep the first 10 of 12 blocks (FPTrans).
* `deit-b16`: the distilled DeiT-B/16 with its second special token, 11 of 12 blocks (FPTrans).
* `vit-mini`: narrow and shallow, for the mini suite.

The patch embedding is stage 1, every block a stage after it; the final normalisation closes the
last block that was built, as in FPTrans, and leaves the special tokens out. There is one
resolution, so there is no pyramid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import UserError

from .base import Backbone, EditStage, Stage, StageMaps

MLP_RATIO = 4
NORM_EPS = 1e-6
UNUSED = ("head.", "head_dist.", "blocks.10.", "blocks.11.")
"""What published files hold beyond the transformers that few-shot hosts keep."""


@dataclass(frozen=True, slots=True)
class ViTPlan:
    """What distinguishes one transformer from another.

    Attributes:
        width: channels of a token.
        heads: of each attention.
        depth: blocks that are kept.
        published_depth: blocks in pretrained files.
        patch: side of a patch in image pixels.
        grid: side of the position embedding, in patches, as constructed.
        distilled: whether a distillation token follows the class token.
    """

    width: int
    heads: int
    depth: int
    published_depth: int
    patch: int
    grid: int
    distilled: bool = False


PLANS = {
    "vit-b16": ViTPlan(768, 12, 10, 12, patch=16, grid=24),
    "deit-b16": ViTPlan(768, 12, 11, 12, patch=16, grid=24, distilled=True),
    "vit-mini": ViTPlan(96, 3, 6, 6, patch=16, grid=8),
}


class PatchEmbedding(nn.Module):
    """One linear map per patch, `patch_embed.proj`."""

    def __init__(self, plan: ViTPlan):
        super().__init__()
        self.proj = nn.Conv2d(3, plan.width, plan.patch, stride=plan.patch)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, C, h, w]."""
        return self.proj(images)


class Attention(nn.Module):
    """Self-attention among all tokens of an image."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, T, C] -> [N, T, C]."""
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, T, C] -> [N, T, C]."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class TransformerBlock(nn.Module):
    """Attention and MLP, each normalised before and added to what it saw."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, T, C] -> [N, T, C]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ViT(Backbone):
    """A vision transformer in stages `patch_embed`, `blocks.0`, `blocks.1`, ...

    Maps are the patch tokens in their places. The tap of a block is its sum of branch and shortcut;
    tap and output of the last block are normalised.

    Images of any multiple of the patch size are taken: the position embedding is resampled
    (bicubic) to their grid. A file may hold it for any square grid.

    Args:
        plan: which network.
        until: the deepest stage to build.
    """

    pyramid = ()
    elastic = ("pos_embed",)

    def __init__(self, plan: ViTPlan, *, until: str = "semantic"):
        super().__init__()
        self.plan = plan
        self.prefix = 2 if plan.distilled else 1
        names = [f"blocks.{index}" for index in range(plan.depth)]
        depth = names.index(until) + 1 if until in names else plan.depth
        depth = 0 if until == "patch_embed" else depth
        self.cls_token = nn.Parameter(torch.empty(1, 1, plan.width))
        if plan.distilled:
            self.dist_token = nn.Parameter(torch.empty(1, 1, plan.width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.prefix + plan.grid**2, plan.width))
        self.patch_embed = PatchEmbedding(plan)
        self.blocks = nn.ModuleList(
            [TransformerBlock(plan.width, plan.heads) for _ in range(depth)]
        )
        self.norm = nn.LayerNorm(plan.width, eps=NORM_EPS)
        self.semantic = names[depth - 1] if depth else "patch_embed"
        self.stages = (
            Stage("patch_embed", plan.width, plan.patch, 0),
            *(Stage(name, plan.width, plan.patch, 1) for name in names[:depth]),
        )
        unbuilt = range(depth, plan.published_depth)
        self.unused_keys = ("head.", "head_dist.", *(f"blocks.{index}." for index in unbuilt))
        self._initialise()
        self.register_load_state_dict_pre_hook(_take_grid)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.plan.width

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`; an edit changes the patch tokens and no other.

        Raises:
            UserError: if the images are no whole number of patches high and wide.
        """
        x = self.embedded(images)
        if edit is not None:
            x = edit(0, x)
        yield StageMaps(self.stages[0], [], x)
        size = (x.shape[-2], x.shape[-1])
        tokens = self.tokens(x)
        for index, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            is_last = index == len(self.blocks)
            tap = self.closed(tokens, size) if is_last else self.placed(tokens, size)
            output = tap
            if edit is not None:
                output = edit(index, tap)
                tokens = self.replaced(tokens, output)
            yield StageMaps(self.stages[index], [tap], output)

    def embedded(self, images: Tensor) -> Tensor:
        """Patch tokens [N, C, h, w] of `images` [N, 3, H, W], before position and class token.

        Raises:
            UserError: if the images are no whole number of patches high and wide.
        """
        side = self.plan.patch
        height, width = images.shape[-2:]
        if height % side or width % side:
            raise UserError(
                f"images of {height}x{width} pixels do not divide into patches of {side}x{side}",
                hint=f"use sides that are multiples of {side}",
            )
        return self.patch_embed(images)

    def tokens(self, maps: Tensor) -> Tensor:
        """Patch tokens [N, C, h, w] as [N, P + h*w, C], special tokens first, positions added."""
        special = [self.cls_token, self.dist_token] if self.plan.distilled else [self.cls_token]
        rows = [token.expand(len(maps), -1, -1) for token in special]
        positions = self.positions((maps.shape[-2], maps.shape[-1]))
        return torch.cat((*rows, maps.flatten(2).transpose(1, 2)), dim=1) + positions

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The position embedding [1, P + h*w, C] of a grid of `size`, resampled if need be."""
        return _resampled(self.pos_embed, self.prefix, size)

    def placed(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """The patch tokens of [N, P + h*w + ..., C] as maps [N, C, h, w]."""
        patches = tokens[:, self.prefix : self.prefix + size[0] * size[1]]
        return patches.transpose(1, 2).unflatten(2, size)

    def closed(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """As `placed`, after the final normalisation."""
        patches = tokens[:, self.prefix : self.prefix + size[0] * size[1]]
        return self.norm(patches).transpose(1, 2).unflatten(2, size)

    def replaced(self, tokens: Tensor, maps: Tensor) -> Tensor:
        """`tokens` [N, T, C] with the patch tokens of `maps` [N, C, h, w] in their places."""
        end = self.prefix + maps.shape[-2] * maps.shape[-1]
        patches = maps.flatten(2).transpose(1, 2)
        return torch.cat((tokens[:, : self.prefix], patches, tokens[:, end:]), dim=1)

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The patch embedding, or one block, with the final normalisation if it is the last."""
        if index == 0:
            own: list[nn.Module] = [self.patch_embed]
        else:
            own = [self.blocks[index - 1]]
        return [*own, self.norm] if index == len(self.blocks) else own

    def stage_parameters(self, index: int) -> Sequence[nn.Parameter]:
        """Special tokens and positions belong to the first block, which is the first to see them.

        An edit of stage 1 acts before they are added.
        """
        own = list(super().stage_parameters(index))
        if index == min(1, len(self.blocks)):
            own += [parameter for _, parameter in self.named_parameters(recurse=False)]
        return own

    def regrid(self, side: int) -> None:
        """Gives the position embedding the grid `side` x `side`, resampled as `positions` does."""
        with torch.no_grad():
            grid = _resampled(self.pos_embed, self.prefix, (side, side)).contiguous()
        self.pos_embed = nn.Parameter(grid, requires_grad=self.pos_embed.requires_grad)

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


def _resampled(positions: Tensor, prefix: int, size: tuple[int, int]) -> Tensor:
    side = round((positions.shape[1] - prefix) ** 0.5)
    if size == (side, side):
        return positions
    grid = positions[:, prefix:].transpose(1, 2).unflatten(2, (side, side))
    grid = F.interpolate(grid, size, mode="bicubic", align_corners=False)
    return torch.cat((positions[:, :prefix], grid.flatten(2).transpose(1, 2)), dim=1)


def _take_grid(module: nn.Module, state: Mapping[str, Any], prefix: str, *_ignored: object) -> None:
    """Makes room for a position embedding of another grid before it is loaded."""
    assert isinstance(module, ViT)
    stored = state.get(f"{prefix}pos_embed")
    own = module.pos_embed
    if not isinstance(stored, Tensor) or stored.shape == own.shape:
        return
    patches = stored.shape[1] - module.prefix if stored.ndim == 3 else 0
    side = round(max(patches, 0) ** 0.5)
    if side > 0 and side**2 == patches and stored.shape[2] == module.width:
        empty = own.new_empty(stored.shape)
        module.pos_embed = nn.Parameter(empty, requires_grad=own.requires_grad)


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> ViT:
    """The transformer of that card name; it has no dilated form and no pyramid."""
    del output_stride
    return ViT(PLANS[name], until=until)
