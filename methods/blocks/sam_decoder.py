"""SAM's mask decoder (Kirillov et al., ICCV 2023), with PerSAM's guidance of its attention.

Tokens (an IoU token, four mask tokens, the prompt's) and the cells of the image embedding attend
to each other in two layers; each mask token then becomes a small network that is applied to the
enlarged embedding.

    decoder = MaskDecoder(256)
    masks, scores = decoder(embedding, positions, sparse, dense, several=True)

Row i of the embedding meets row i of the prompts: B rows in, B rows out. (The published code
repeats each image for each prompt and takes one image only.) Masks are logits at 4 times the grid;
`several` gives the three masks of an ambiguous prompt, otherwise there is one. Everything is
differentiable with respect to `sparse` and `dense`. State-dict keys are those of the published
`mask_decoder.`.

PerSAM (Zhang et al., ICLR 2024) adds a `Guide` to the first call: a map that the attention of
tokens to the image adds to its weights, and a target embedding that is added to the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layer_norm import LayerNorm2d

LAYERS = 2
MASKS = 4
"""One for a prompt that is clear, three for an ambiguous one."""


@dataclass(frozen=True, slots=True)
class Guide:
    """PerSAM's guidance of one decoder call."""

    attention: Tensor | None = None  # [B, h*w] in [0, 1], added to every token's weights
    target: Tensor | None = None  # [B, 1, C], added to the tokens


class Attention(nn.Module):
    """Attention of one set of tokens to another, in an inner width, that of tokens by `reduction`.

    SAM's keys have a bias, though no softmax depends on it.
    """

    def __init__(self, channels: int, heads: int, reduction: int = 1, *, key_bias: bool = True):
        super().__init__()
        inner = channels // reduction
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner, bias=key_bias)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, guide: Tensor | None = None) -> Tensor:
        """Queries [B, T, C], keys and values [B, S, C] -> [B, T, C].

        With a `guide` [B, S] the weights are softmax(softmax(q.k) + guide) (PerSAM).
        """
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        weights = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1)
        if guide is not None:
            weights = (weights + guide[:, None, None]).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2))


class TokenMLP(nn.Module):
    """Two linear maps with a ReLU between them."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        return self.lin2(F.relu(self.lin1(tokens)))


class TwoWayLayer(nn.Module):
    """Tokens to themselves, tokens to image, MLP, image to tokens; each normalised after.

    The self-attention of the first layer has no residual and sees no codes: there the tokens are
    their own codes.
    """

    def __init__(self, channels: int, heads: int, hidden: int, *, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, heads, 2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = TokenMLP(channels, hidden)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, heads, 2)

    def forward(
        self, tokens: Tensor, image: Tensor, codes: Tensor, positions: Tensor, guide: Guide
    ) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, C] and image cells [B, S, C], both renewed.

        Their codes are `codes` [B, T, C] and `positions` [B or 1, S, C].
        """
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            if guide.target is not None:
                tokens = tokens + guide.target
            coded = tokens + codes
            tokens = tokens + self.self_attn(coded, coded, tokens)
        tokens = self.norm1(tokens)
        placed = image + positions
        tokens = self.norm2(
            tokens + self.cross_attn_token_to_image(tokens + codes, placed, image, guide.attention)
        )
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed, tokens + codes, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two layers, and a last attention of tokens to image."""

    def __init__(self, channels: int, heads: int, hidden: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [TwoWayLayer(channels, heads, hidden, first=i == 0) for i in range(LAYERS)]
        )
        self.final_attn_token_to_image = Attention(channels, heads, 2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self, tokens: Tensor, image: Tensor, positions: Tensor, guide: Guide
    ) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, C] and image cells [B, S, C] after all layers.

        With a target embedding t the codes of all later attentions hold it too: in the published
        code the first layer's tokens and their codes are one tensor, to which t is added in place.
        """
        target = guide.target
        codes = tokens if target is None else tokens + target
        tokens = codes
        for layer in self.layers:
            tokens, image = layer(tokens, image, codes, positions, guide)
        asking = tokens + codes if target is None else tokens + codes + target
        found = self.final_attn_token_to_image(asking, image + positions, image)
        return self.norm_final_attn(tokens + found), image


class HeadMLP(nn.Module):
    """Three linear maps with ReLUs between them."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(channels, channels), nn.Linear(channels, channels), nn.Linear(channels, out)]
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, C] -> [B, O]."""
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(tokens)))))


class MaskDecoder(nn.Module):
    """From an image embedding and a prompt to masks and their predicted IoU."""

    def __init__(self, channels: int, heads: int = 8, hidden: int = 2048):
        super().__init__()
        self.transformer = TwoWayTransformer(channels, heads, hidden)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(MASKS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            [HeadMLP(channels, channels // 8) for _ in range(MASKS)]
        )
        self.iou_prediction_head = HeadMLP(channels, MASKS)

    def forward(
        self,
        embedding: Tensor,
        positions: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        several: bool,
        guide: Guide | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mask logits [B, 3 or 1, 4h, 4w] and their predicted IoU [B, 3 or 1].

        Args:
            embedding: the image encoder's [B, C, h, w].
            positions: `PromptEncoder.dense_positions` of its grid [1, C, h, w].
            sparse: tokens of the prompt [B, T, C]; T may be 0.
            dense: map of the prompt [B, C, h, w].
            several: the three masks of an ambiguous prompt, or the one of a clear prompt.
            guide: PerSAM's, where there is one.
        """
        masks, scores = self.all_masks(embedding, positions, sparse, dense, guide=guide)
        chosen = slice(1, MASKS) if several else slice(0, 1)
        return masks[:, chosen], scores[:, chosen]

    def all_masks(
        self,
        embedding: Tensor,
        positions: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        guide: Guide | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, all four masks [B, 4, 4h, 4w] and scores [B, 4]: first the clear one."""
        batch, grid = len(embedding), embedding.shape[-2:]
        own = torch.cat((self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(batch, -1, -1), sparse), dim=1)
        cells = (embedding + dense).flatten(2).transpose(1, 2)
        codes = positions.flatten(2).transpose(1, 2)
        tokens, cells = self.transformer(tokens, cells, codes, guide or Guide())
        enlarged = self.output_upscaling(cells.transpose(1, 2).unflatten(2, grid))
        networks = cast("list[HeadMLP]", list(self.output_hypernetworks_mlps))
        weights = [network(tokens[:, 1 + i]) for i, network in enumerate(networks)]
        masks = (torch.stack(weights, dim=1) @ enlarged.flatten(2)).unflatten(
            2, enlarged.shape[-2:]
        )
        return masks, self.iou_prediction_head(tokens[:, 0])
