"""HSNet's decoder on maps that lie channels last."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks.hpn import HPNLearner, doubled
from .convolution import Convolution3x3


class Decoder:
    """`HPNLearner.decode`; gradients flow through the maps, not to the parameters.

    Args:
        learner: whose parameters are read once, here.
    """

    def __init__(self, learner: HPNLearner):
        first, second = (cast("nn.Conv2d", learner.decoder1[i]) for i in (0, 2))
        third, last = (cast("nn.Conv2d", learner.decoder2[i]) for i in (0, 2))
        self._small = [_Layer(first), _Layer(second)]
        self._large = _Layer(third)
        assert last.bias is not None
        self._weight, self._bias = last.weight.detach().clone(), last.bias.detach().clone()

    def __call__(self, encoded: Tensor) -> Tensor:
        """[B, C, h, w] -> logits [B, 2, 2h, 2w]."""
        for layer in self._small:
            encoded = layer(encoded)
        hidden = self._large(doubled(encoded))
        return F.conv2d(hidden, self._weight, self._bias, padding=1)


class _Layer:
    """A convolution, its bias, ReLU."""

    def __init__(self, convolution: nn.Conv2d):
        assert convolution.bias is not None
        self._convolved = Convolution3x3(convolution.weight)
        self._bias = convolution.bias.detach()[:, None, None].clone()

    def __call__(self, maps: Tensor) -> Tensor:
        found = self._convolved(maps)
        if found.requires_grad:
            return (found + self._bias).relu()
        return found.add_(self._bias).relu_()
