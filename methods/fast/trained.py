"""The form of a backbone that source training runs: equal up to rounding, the same parameters."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from ..backbones.base import Backbone
from .folded import normalised_pairs


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
        self._is_dilated = (
            dilation > 1
            and (own.kernel_size, own.stride, own.groups) == ((3, 3), (1, 1), 1)
            and own.dilation == own.padding == (dilation, dilation)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The normalised convolution of `x` [N, C, h, w]."""
        own = self.convolution
        shift = self._shift if own.bias is None else self._shift + own.bias * self._scale
        weight = own.weight * self._scale[:, None, None, None]
        if self._is_dilated and x.is_contiguous(memory_format=torch.channels_last):
            return cast("Tensor", _Dilated.apply(x, weight, shift, own.dilation[0]))
        return F.conv2d(x, weight, shift, own.stride, own.padding, own.dilation, own.groups)


class _Dilated(torch.autograd.Function):
    """A dilated 3x3 convolution of maps that lie channels last, of the same size.

    oneDNN finds the gradient of a dilated kernel at half the speed of a dense one's. Every second
    row and column of the maps, as images of their own, see the kernel without its gaps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (grad,), dilation = ctx.saved_tensors, grads, ctx.dilation
        grad = grad.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = conv2d_input(x.shape, weight, grad, padding=dilation, dilation=dilation)
        if ctx.needs_input_grad[1]:
            dense, dense_grad = _phases(x, dilation), _phases(grad, dilation)
            to_weight = conv2d_weight(dense, weight.shape, dense_grad, padding=1)
        if ctx.needs_input_grad[2]:
            to_bias = grad.sum((0, 2, 3))
        return to_x, to_weight, to_bias, None


def _phases(maps: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column, [N, C, h, w] -> [N * step * step, C, h / step, w / step].

    Maps are filled up with zeros, channels last.
    """
    more = [-side % step for side in maps.shape[-2:]]
    filled = F.pad(maps, (0, more[1], 0, more[0])) if any(more) else maps
    cut = filled.permute(0, 2, 3, 1).unflatten(2, (-1, step)).unflatten(1, (-1, step))
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)
