"""SAM's image encoder (Kirillov et al., ICCV 2023): a vision transformer with windows, and a neck.

Position embeddings of another grid are resampled bicubically with antialiasing (timm's rule; SAM
has none), the relative positions of global attention linearly (SAM's own rule). The tables of
windowed attention stay. State-dict keys are those of the published `image_encoder.`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layer_norm import LayerNorm2d

MLP_RATIO = 4
NORM_EPS = 1e-6
_AT_ONCE = 2**20
"""Attention weights that are computed at once: 4 MiB, which a cache holds. All of one global
attention of a map of 64x64 are 768 MiB."""


@dataclass(frozen=True, slots=True)
class SAMPlan:
    """What distinguishes one SAM from another."""

    width: int  # channels of a token in the image encoder
    depth: int  # blocks
    heads: int  # of each attention in the blocks
    global_blocks: tuple[int, ...]  # that see all of the map; others see windows
    side: int = 1024  # of the image in pixels for which the parameters are made
    patch: int = 16  # side of a patch in pixels
    window: int = 14  # side of a window in patches
    channels: int = 256  # of the image embedding and the decoder
    decoder_heads: int = 8  # of each attention in the decoder
    decoder_hidden: int = 2048  # of the MLPs in the decoder's layers


class PatchEmbedding(nn.Module):
    """One linear map per patch, `patch_embed.proj`."""

    def __init__(self, plan: SAMPlan):
        super().__init__()
        self.proj = nn.Conv2d(3, plan.width, plan.patch, stride=plan.patch)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, h, w, C]."""
        return self.proj(images).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Self-attention in a map, with relative positions decomposed, of tables made for a `side`."""

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, maps: Tensor) -> Tensor:
        """[N, h, w, C] -> [N, h, w, C]."""
        count, height, width, _ = maps.shape
        parts = self.qkv(maps).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 4, 1, 2, 5)
        query, key, value = parts.flatten(1, 2)  # each [N*heads, h, w, d]
        rows = _relative(self.rel_pos_h, height)
        columns = _relative(self.rel_pos_w, width)
        step = max(1, _AT_ONCE // (height * width) ** 2)
        mixed = torch.cat(
            [
                _attended(q, k, v, rows, columns)
                for q, k, v in zip(
                    query.split(step), key.split(step), value.split(step), strict=True
                )
            ]
        )
        return self.proj(mixed.unflatten(0, (count, self.heads)).permute(0, 2, 3, 1, 4).flatten(3))


def _attended(query: Tensor, key: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attention of maps [M, h, w, d]; relative positions meet the unscaled query.

    Those of rows are [h, h, d], those of columns [w, w, d].
    """
    height, width, depth = query.shape[1:]
    by_row = torch.einsum("mhwd,hkd->mhwk", query, rows)
    by_column = torch.einsum("mhwd,wkd->mhwk", query, columns)
    keys, values = key.flatten(1, 2).transpose(1, 2), value.flatten(1, 2)
    lines = max(1, _AT_ONCE // (height * width**2))
    found: list[Tensor] = []
    for q, r, c in zip(
        (query * depth**-0.5).split(lines, dim=1),
        by_row.split(lines, dim=1),
        by_column.split(lines, dim=1),
        strict=True,
    ):
        logits = (q.flatten(1, 2) @ keys).unflatten(2, (height, width)).unflatten(1, (-1, width))
        logits += r[..., :, None]
        logits += c[..., None, :]
        weights = logits.flatten(3).flatten(1, 2).softmax(-1)
        found.append((weights @ values).unflatten(1, (-1, width)))
    return torch.cat(found, dim=1)


def _relative(table: Tensor, side: int) -> Tensor:
    """Rows of `table` [L, d] for each query and key of a side [n, n, d], resized where need be."""
    length = 2 * side - 1
    if len(table) != length:
        resized = F.interpolate(table.t()[None], length, mode="linear", align_corners=False)
        table = resized[0].t()
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places[None] + side - 1]


class MLP(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, width: int):
        super().__init__()
        self.lin1 = nn.Linear(width, MLP_RATIO * width)
        self.lin2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.lin2(F.gelu(self.lin1(tokens)))


class Block(nn.Module):
    """Attention in windows (of 0: in all of the map) and MLP, each normalised before and added."""

    def __init__(self, plan: SAMPlan, window: int):
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(plan.width, eps=NORM_EPS)
        self.attn = Attention(plan.width, plan.heads, window or plan.side // plan.patch)
        self.norm2 = nn.LayerNorm(plan.width, eps=NORM_EPS)
        self.mlp = MLP(plan.width)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, h, w, C] -> [N, h, w, C]."""
        normed = self.norm1(maps)
        seen = self._windowed(normed) if self.window else self.attn(normed)
        maps = maps + seen
        return maps + self.mlp(self.norm2(maps))

    def _windowed(self, maps: Tensor) -> Tensor:
        """Padding stands behind the normalisation and is attended to, as published."""
        count, height, width, _ = maps.shape
        side = self.window
        down, across = -(-height // side), -(-width // side)
        padded = F.pad(maps, (0, 0, 0, across * side - width, 0, down * side - height))
        cut = padded.unflatten(2, (across, side)).unflatten(1, (down, side)).transpose(2, 3)
        seen = self.attn(cut.flatten(0, 2)).unflatten(0, (count, down, across))
        joined = seen.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return joined[:, :height, :width]


class ImageEncoder(nn.Module):
    """The vision transformer, and its neck if it is built whole; `SAM.walk` goes through it."""

    def __init__(self, plan: SAMPlan, depth: int, *, whole: bool):
        super().__init__()
        grid = plan.side // plan.patch
        self.pos_embed = nn.Parameter(torch.empty(1, grid, grid, plan.width))
        self.patch_embed = PatchEmbedding(plan)
        self.blocks = nn.ModuleList(
            [
                Block(plan, 0 if index in plan.global_blocks else plan.window)
                for index in range(depth)
            ]
        )
        if whole:
            self.neck = nn.Sequential(
                nn.Conv2d(plan.width, plan.channels, 1, bias=False),
                LayerNorm2d(plan.channels),
                nn.Conv2d(plan.channels, plan.channels, 3, padding=1, bias=False),
                LayerNorm2d(plan.channels),
            )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The position embedding [1, h, w, C] of a map of `size`, resampled if need be."""
        if size == tuple(self.pos_embed.shape[1:3]):
            return self.pos_embed
        grid = self.pos_embed.permute(0, 3, 1, 2)
        resized = F.interpolate(
            grid.float(), size, mode="bicubic", antialias=True, align_corners=False
        )
        return resized.to(grid.dtype).permute(0, 2, 3, 1)
