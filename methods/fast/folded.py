"""The form of a backbone that inference runs: fewer operations, the same features up to rounding.

A normalisation with fixed statistics is an affine map per channel, so it disappears into the
convolution before it. Maps lie channels last, which is how oneDNN and, in bfloat16, cuDNN compute
fastest and how the features of a position become a row without a copy. cuDNN's float32 kernels want
channels first.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..backbones.base import Backbone


def folded(backbone: Backbone, *, channels_last: bool = True) -> Backbone:
    """A copy of `backbone` for inference; itself where it has nothing to fold (a transformer).

    In our backbones a normalisation that stands behind a convolution among the children of a module
    is also applied behind it.

    Args:
        backbone: stays as it is.
        channels_last: how weights lie, and so all maps.
    """
    copied = copy.deepcopy(backbone).eval()
    pairs = [pair for module in copied.modules() for pair in _pairs(module)]
    if not pairs:
        return backbone
    for module, (first, convolution), (second, norm) in pairs:
        fused = fuse_conv_bn_eval(convolution, norm)
        if fused.kernel_size == (1, 1):
            # A single tap cannot be dilated: this only keeps torch from its own slower kernel,
            # which it prefers to oneDNN's where it has one thread.
            fused.dilation = (2, 2)
        setattr(module, first, fused)
        setattr(module, second, nn.Identity())
    copied.requires_grad_(requires_grad=False)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return copied.to(memory_format=layout)  # pyright: ignore[reportCallIssue]


_Pair = tuple[nn.Module, tuple[str, nn.Conv2d], tuple[str, nn.BatchNorm2d]]


def _pairs(module: nn.Module) -> list[_Pair]:
    found: list[_Pair] = []
    for (first, left), (second, right) in pairwise(module.named_children()):
        if isinstance(left, nn.Conv2d) and isinstance(right, nn.BatchNorm2d):
            found.append((module, (first, left), (second, right)))
    return found
