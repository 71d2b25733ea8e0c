"""Fully connected layers of a backbone, by the products of `products.py`."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..backbones.dino import MaskedLinear
from .products import product

LARGE = 2**24
"""Multiplications from which a layer is computed so; below, the call costs more than it saves."""


def projected(backbone: Backbone) -> Backbone:
    """`backbone` with its own tensors and faster layers for inference on a CPU.

    Itself where no layer is fully connected.

    Args:
        backbone: stays as it is, and shares its tensors.
    """
    if not any(isinstance(module, nn.Linear) for module in backbone.modules()):
        return backbone
    tensors = (*backbone.parameters(), *backbone.buffers())
    form = copy.deepcopy(backbone, {id(tensor): tensor for tensor in tensors})
    for module in form.modules():
        if type(module) in _FORMS:
            module.__class__ = _FORMS[type(module)]
    return form


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return _projection(input, self.weight, self.bias)


class _MaskedLinear(MaskedLinear):
    def forward(self, input: Tensor) -> Tensor:
        return _projection(input, self.weight, self.bias * self.bias_mask)


_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: _Linear,
    MaskedLinear: _MaskedLinear,
}


def _projection(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.numel() * len(weight) < LARGE:
        return F.linear(x, weight, bias)
    return product(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])
