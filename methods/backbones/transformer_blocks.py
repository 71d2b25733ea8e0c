"""The parts of a vision transformer's block; how methods use them: see `transformer`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MLP_RATIO = 4


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary positions of the patches of one grid: sine and cosine of every angle [h*w, D]."""

    sin: Tensor
    cos: Tensor

    def of(self, heads: Tensor) -> Tensor:
        """Queries or keys [N, heads, P + h*w, D], the patches rotated, special tokens as is."""
        count = len(self.sin)
        special, patches = heads[:, :, :-count], heads[:, :, -count:]
        first, second = patches.chunk(2, dim=-1)
        turned = patches * self.cos + torch.cat((-second, first), dim=-1) * self.sin
        return torch.cat((special, turned.to(heads.dtype)), dim=2)


class PatchEmbedding(nn.Module):
    """One linear map per patch, `patch_embed.proj`."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, C, h, w]."""
        return self.proj(images)


class LayerScale(nn.Module):
    """A learnt factor per channel."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, T, C] -> [N, T, C]."""
        return tokens * self.gamma


class Attention(nn.Module):
    """Self-attention among all tokens; `qkv` gives queries, keys, values (by default linear)."""

    def __init__(self, width: int, heads: int, qkv: nn.Linear | None = None):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width) if qkv is None else qkv
        self.proj = nn.Linear(width, width)

    def parts(
        self, tokens: Tensor, rotation: Rotation | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [N, heads, T, D] of normalised tokens [N, T, C]."""
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return (q, k, v) if rotation is None else (rotation.of(q), rotation.of(k), v)

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The attention [N, heads, T, T] of queries (rows) to keys, which `forward` fuses."""
        scores = queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
        return scores.softmax(dim=-1)

    def merged(self, values: Tensor) -> Tensor:
        """The projection [N, T, C] of what each head collected, [N, heads, T, D]."""
        return self.proj(values.transpose(1, 2).flatten(2))

    def forward(self, tokens: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[N, T, C] -> [N, T, C]."""
        queries, keys, values = self.parts(tokens, rotation)
        return self.merged(F.scaled_dot_product_attention(queries, keys, values))


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
    """Attention and MLP, each normalised before and added to what it saw.

    Args:
        width: channels of a token.
        heads: of the attention.
        eps: of the normalisations.
        scaled: whether each branch ends with a LayerScale.
        qkv: the attention's first linear map; a plain one by default.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        eps: float,
        scaled: bool = False,
        qkv: nn.Linear | None = None,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, qkv)
        self.ls1 = LayerScale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width)
        self.ls2 = LayerScale(width) if scaled else nn.Identity()

    def attended(self, tokens: Tensor, rotation: Rotation | None = None) -> Tensor:
        """The attention branch [N, T, C], which is added to `tokens` [N, T, C]."""
        return self.ls1(self.attn(self.norm1(tokens), rotation))

    def mixed(self, tokens: Tensor) -> Tensor:
        """The MLP branch [N, T, C], which is added to `tokens` [N, T, C], attention included."""
        return self.ls2(self.mlp(self.norm2(tokens)))

    def forward(self, tokens: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[N, T, C] -> [N, T, C]."""
        tokens = tokens + self.attended(tokens, rotation)
        return tokens + self.mixed(tokens)
