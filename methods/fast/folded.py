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
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..backbones.base import Backbone
from ..backbones.resnet import Block


def folded(backbone: Backbone, *, channels_last: bool = True) -> Backbone:
    """A copy of `backbone` for inference; itself where it has nothing to fold (a transformer).

    In our backbones a normalisation that stands behind a convolution among the children of a module
    is also applied behind it.

    Args:
        backbone: stays as it is.
        channels_last: how weights lie, and so all maps.
    """
    copied = copy.deepcopy(backbone).eval()
    pairs = [pair for module in copied.modules() for pair in normalised_pairs(module)]
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
    for module in copied.modules():
        if type(module) is Block:
            module.__class__ = _InPlaceBlock
    copied.requires_grad_(requires_grad=False)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return copied.to(memory_format=layout)  # pyright: ignore[reportCallIssue]


class _InPlaceBlock(Block):
    """A folded residual block that writes over its own convolutions' results: the same bytes."""

    def before_activation(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return super().before_activation(x)
        branch = x
        for number in range(1, self.depth + 1):
            branch = self.get_submodule(f"conv{number}")(branch)
            if number < self.depth:
                branch = branch.relu_()
        shortcut = x if self.downsample is None else self.downsample(x)
        return branch.add_(shortcut) if branch.dtype == shortcut.dtype else branch + shortcut


_Pair = tuple[nn.Module, tuple[str, nn.Conv2d], tuple[str, nn.BatchNorm2d]]


def normalised_pairs(module: nn.Module) -> list[_Pair]:
    """The convolutions and normalisations that follow each other, named, behind `module` itself."""
    found: list[_Pair] = []
    for (first, left), (second, right) in pairwise(module.named_children()):
        if isinstance(left, nn.Conv2d) and isinstance(right, nn.BatchNorm2d):
            found.append((module, (first, left), (second, right)))
    return found
