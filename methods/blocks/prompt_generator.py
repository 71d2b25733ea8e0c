"""A meta prompt generator: sparse and dense prompts for SAM's mask decoder without any click.

That such a generator makes both kinds of prompts, from support features, in the place of SAM's
prompt encoder, is what is known of APSeg's (CVPR 2024). Its layers here are ours, the fewest that
do it:

    generator = PromptGenerator(256, heads=8, tokens=8)
    sparse = generator.sparse(fore, support_cells, query_cells, positions)
    dense = generator.dense(embedding, transformed, fore, prior)

The last convolution of the dense prompt begins at zero, so that SAM begins as if it had been given
no mask.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .sam_decoder import Attention

LAYERS = 2


class PromptLayer(nn.Module):
    """Tokens to the support, to each other, to the query; each added and normalised after."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.to_support = Attention(channels, heads, key_bias=False)
        self.norm1 = nn.LayerNorm(channels)
        self.to_tokens = Attention(channels, heads, key_bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.to_query = Attention(channels, heads, key_bias=False)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, support: Tensor, query: Tensor) -> Tensor:
        """Tokens [B, T, C], renewed by support cells [B, S, C] and query cells [B, Q, C]."""
        tokens = self.norm1(tokens + self.to_support(tokens, support, support))
        tokens = self.norm2(tokens + self.to_tokens(tokens, tokens, tokens))
        return self.norm3(tokens + self.to_query(tokens, query, query))


class PromptGenerator(nn.Module):
    """Prompts of B queries; `tokens` are learnt, beside the one of the object's prototype."""

    def __init__(self, channels: int, heads: int, tokens: int):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(tokens, channels))
        nn.init.normal_(self.tokens)
        self.layers = nn.ModuleList([PromptLayer(channels, heads) for _ in range(LAYERS)])
        self.mix = nn.Conv2d(3 * channels + 1, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def sparse(self, fore: Tensor, support: Tensor, query: Tensor, positions: Tensor) -> Tensor:
        """Tokens of the prompt [B, 1 + T, C], the object's prototype `fore` [B, C] first.

        Support cells [B, S, C] under the mask and query cells [B, Q, C] are transformed;
        `positions` [1, Q, C] are codes of the latter, so that a token can say where.
        """
        learnt = self.tokens.expand(len(fore), -1, -1)
        tokens = torch.cat((fore[:, None], learnt), dim=1)
        for layer in cast("list[PromptLayer]", list(self.layers)):
            tokens = layer(tokens, support, query + positions)
        return tokens

    def dense(self, embedding: Tensor, transformed: Tensor, fore: Tensor, prior: Tensor) -> Tensor:
        """What is added to the map of a missing mask prompt, [B, C, h, w].

        It is made of the query's embedding, the same `transformed` [B, C, h, w], the object's
        prototype `fore` [B, C], and the likeness of each cell to it, `prior`, 0 to 1 [B, 1, h, w].
        """
        everywhere = fore[..., None, None].expand_as(embedding)
        joined = torch.cat((embedding, transformed, everywhere, prior), dim=1)
        return self.out(self.mix(joined).relu())
