"""ACPA, adaptive channel phase attention (Tong et al., NeurIPS 2024): a gate read from phases.

"Lightweight Frequency Masker for Cross-Domain Few-Shot Semantic Segmentation", section 3.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cdfss_bench.transfer import onto

from ..backbones.base import Stage
from ..core.plugin_api import FeaturePlugin

HIDDEN = 8
"""Width of the hidden layer; the published `reduction=8` is the width, not a ratio."""


class ACPA(FeaturePlugin):
    """Weights each channel by `sigmoid(W2 relu(W1 p))`, p the mean phase of that channel (eq. 14).

    A support is judged by its masked maps, a query by its own. In a real map conjugate phases
    cancel, so that p hardly says more than the sign of the channel's mean.

    Args:
        steps: of Adam per episode.
        lr: its rate.

    State-dict keys: `acpa.phase_attn.{0,2}.weight` (APM `phase_attn.py`).
    """

    key = "acpa"

    def __init__(self, *, steps: int = 60, lr: float = 0.01):
        super().__init__(steps=steps, lr=lr)
        self.phase_attn = _attention(1)

    def attach_to(self, stage: Stage) -> None:
        """Layers for the stage's channels, with fixed initial weights until an episode draws."""
        self.phase_attn = _attention(stage.channels)
        self._draw(torch.Generator().manual_seed(0))

    def reset(self, features: Tensor, rng: torch.Generator | None) -> None:
        """Weights uniform in +-1/sqrt(inputs), torch's own initialisation, drawn from `rng`."""
        del features
        if rng is None:
            raise ValueError("ACPA draws its initial weights: give adapt the episode's generator")
        self._draw(rng)

    def gate(self, features: Tensor, seen: Tensor) -> Tensor:
        """`features` [N, C, h, w] times the weights that `seen` gives."""
        return features * self.weights(seen)[..., None, None]

    def weights(self, seen: Tensor) -> Tensor:
        """One weight in (0, 1) per channel, [N, C] of maps [N, C, h, w]."""
        return self.phase_attn(mean_phase(seen)).sigmoid()

    def _draw(self, rng: torch.Generator) -> None:
        with torch.no_grad():
            for layer in self.phase_attn:
                if isinstance(layer, nn.Linear):
                    bound = 1 / math.sqrt(layer.in_features)
                    drawn = torch.rand(layer.weight.shape, generator=rng, device=rng.device)
                    layer.weight.copy_(onto((2 * drawn - 1) * bound, layer.weight.device))


def mean_phase(maps: Tensor) -> Tensor:
    """Mean over frequencies of the phase of each channel, [N, C] of [N, C, h, w], in closed form.

    The phases of conjugate frequencies cancel; only frequencies that are their own conjugate are
    left, one to four of them, and they are real: their phase is pi where they are negative, else 0.
    A discrete Fourier transform gives the same with a signed zero for their imaginary part, whose
    sign, and so that of pi, is the library's whim. No gradient passes: the mean is piecewise
    constant.
    """
    height, width = maps.shape[-2:]
    real = _self_conjugate(_self_conjugate(maps.detach(), -1), -2)
    return (real < 0).sum((-2, -1)).to(maps.dtype) * (math.pi / (height * width))


def _self_conjugate(values: Tensor, dim: int) -> Tensor:
    """Along `dim` the sum, and if it is even the alternating sum besides."""
    size = values.shape[dim]
    found = [values.sum(dim, keepdim=True)]
    if size % 2 == 0:
        even = torch.arange(0, size, 2, device=values.device)
        pair = (values.index_select(dim, even), values.index_select(dim, even + 1))
        found.append(pair[0].sum(dim, keepdim=True) - pair[1].sum(dim, keepdim=True))
    return torch.cat(found, dim)


def _attention(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, HIDDEN, bias=False),
        nn.ReLU(),
        nn.Linear(HIDDEN, channels, bias=False),
    )
