"""Numbers drawn from a seed, and transformers of another grid."""

import torch
from torch import Tensor, nn

from cdfss_bench.methods.backbones.vit import ViT


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


def regrid(net: ViT, side: int) -> None:
    """Gives the position embedding the grid `side` x `side`, as a file of that size has it."""
    with torch.no_grad():
        net.pos_embed = nn.Parameter(net.positions((side, side)).contiguous())
