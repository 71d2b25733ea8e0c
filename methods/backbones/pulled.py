"""A transformer's block with the attention between its patches pulled to their neighbourhood."""

from __future__ import annotations

from torch import Tensor

from ..blocks.locality import patch_graph, pulled_attention
from .transformer import Transformer


def attended(
    trunk: Transformer, index: int, tokens: Tensor, grid: tuple[int, int], *, pull: bool = True
) -> tuple[Tensor, Tensor]:
    """All tokens [N, T, C] behind the attention of a block, before its MLP, and `patch_graph`.

    Args:
        trunk: the network.
        index: of the block, from 0.
        tokens: what the block sees, [N, T, C].
        grid: of the patches, (h, w).
        pull: off for the block's own attention.
    """
    block, rotation = trunk.block(index), trunk.rotation(grid)
    query, key, value = block.attn.parts(block.norm1(tokens), rotation)
    if pull:
        weights = pulled_attention(query, key, grid, registers=trunk.prefix - 1)
    else:
        weights = block.attn.weights(query, key)
    graph = patch_graph(weights, first=trunk.prefix)
    return tokens + block.ls1(block.attn.merged(weights @ value)), graph
