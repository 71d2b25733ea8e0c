"""A transformer's block with the attention between its patches pulled to their neighbourhood."""

from __future__ import annotations

from torch import Tensor

from ..blocks.locality import patch_graph, pulled_attention
from .transformer import Transformer


def attended(
    trunk: Transformer, index: int, tokens: Tensor, grid: tuple[int, int], *, pull: bool = True
) -> tuple[Tensor, Tensor]:
    """All tokens [N, T, C] behind a block's attention, before its MLP, and `patch_graph`.

    `tokens` [N, T, C] are what the block sees, their patches on a `grid` (h, w); with `pull` off it
    is the block's own attention.
    """
    block, rotation = trunk.block(index), trunk.rotation(grid)
    query, key, value = block.attn.parts(block.norm1(tokens), rotation)
    if pull:
        weights = pulled_attention(query, key, grid, registers=trunk.prefix - 1)
    else:
        weights = block.attn.weights(query, key)
    graph = patch_graph(weights, first=trunk.prefix)
    return tokens + block.ls1(block.attn.merged(weights @ value)), graph
