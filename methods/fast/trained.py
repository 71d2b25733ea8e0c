"""The form of a backbone that source training runs: equal up to rounding, the same parameters."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.base import Backbone
from .folded import normalised_pairs
from .trained_tiles import tiled_convolution

_TILED = 128
"""Channels from which tiles are faster than oneDNN's sums, where maps lie channels last."""


def trained_form(backbone: Backbone, *, without: int = 0) -> Backbone:
    """`backbone` with its own parameters and buffers, and normalisation in the convolutions.

    Only a normalisation with fixed statistics, which is not trained, enters the convolution before
    it. The form has the modes that `backbone` has now.

    Args:
        backbone: stays as it is, and shares its tensors.
        without: this many first stages compute nothing; their outputs come from `edit`.
    """
    tensors = (*backbone.parameters(), *backbone.buffers())
    form = copy.deepcopy(backbone, {id(tensor): tensor for tensor in tensors})
    for module in list(form.modules()):
        for parent, (first, convolution), (second, norm) in normalised_pairs(module):
            is_fixed = not norm.training and not any(p.requires_grad for p in norm.parameters())
            if is_fixed:
                setattr(parent, first, FoldedConvolution(convolution, norm))
                setattr(parent, second, nn.Identity())
    names = {id(module): name for name, module in form.named_modules()}
    for index in range(without):
        for module in form.stage_modules(index):
            form.set_submodule(names[id(module)], nn.Identity())
    for module in form.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)  # as in `folded`
    return form


class FoldedConvolution(nn.Module):
    """A convolution and the fixed normalisation behind it, as one convolution in each step.

    Args:
        convolution: may be trained.
        norm: with fixed statistics, not trained.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d):
        super().__init__()
        self.convolution = convolution
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            self._scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            self._shift = norm.bias - norm.running_mean * self._scale
        own, dilation = convolution, convolution.dilation[0]
        self._may_be_tiled = (
            (own.kernel_size, own.stride, own.groups) == ((3, 3), (1, 1), 1)
            and own.dilation == own.padding == (dilation, dilation)
            and min(own.in_channels, own.out_channels) >= _TILED
        )

    def forward(self, x: Tensor) -> Tensor:
        """The normalised convolution of `x` [N, C, h, w]."""
        own = self.convolution
        shift = self._shift if own.bias is None else self._shift + own.bias * self._scale
        weight = own.weight * self._scale[:, None, None, None]
        is_large = self._may_be_tiled and x.is_contiguous(memory_format=torch.channels_last)
        if is_large and not torch.is_autocast_enabled(x.device.type):
            return tiled_convolution(x, weight, shift, own.dilation[0])
        return F.conv2d(x, weight, shift, own.stride, own.padding, own.dilation, own.groups)
