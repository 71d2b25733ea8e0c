"""The style of a feature map, noise on it, and its rectification (DR-Adapter, CVPR 2024).

Formulas and signs as in the published `model/SSP_matching.py`. What that code calls sigma is the
unbiased variance; no root is taken anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layer_norm import LayerNorm2d

EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Style:
    """Mean and unbiased variance of each channel over all positions, [N, C, 1, 1] each."""

    mean: Tensor
    var: Tensor

    @staticmethod
    def of(features: Tensor) -> Style:
        """The style of `features` [N, C, h, w], which have at least two positions."""
        return Style(features.mean((2, 3), keepdim=True), features.var((2, 3), keepdim=True))

    @staticmethod
    def cat(parts: Sequence[Style]) -> Style:
        """All rows of `parts`."""
        return Style(torch.cat([p.mean for p in parts]), torch.cat([p.var for p in parts]))

    def detach(self) -> Style:
        """Without gradient."""
        return Style(self.mean.detach(), self.var.detach())

    def average(self) -> Style:
        """The mean over all rows, [1, C, 1, 1]."""
        return Style(self.mean.mean(0, keepdim=True), self.var.mean(0, keepdim=True))

    def expand(self, rows: int) -> Style:
        """The only row, `rows` times."""
        return Style(self.mean.expand(rows, -1, -1, -1), self.var.expand(rows, -1, -1, -1))

    def scaled(self, mean: Tensor, var: Tensor) -> Style:
        """`(1 + mean) mu` and `(1 + var) sigma`."""
        return Style((1 + mean) * self.mean, (1 + var) * self.var)

    def distance(self, other: Style) -> Tensor:
        """Mean absolute differences of the means and of the variances, summed: a scalar."""
        return F.l1_loss(self.mean, other.mean) + F.l1_loss(self.var, other.var)


@dataclass(frozen=True, slots=True)
class StyleNoise:
    """Random factors on a style, [N, C, 1, 1] each: `alpha` on the contrast, `beta` on the mean."""

    alpha: Tensor
    beta: Tensor

    @staticmethod
    def drawn(rows: int, channels: int, sigma: float, rng: torch.Generator) -> StyleNoise:
        """From N(0, sigma^2), alpha first; on the generator's device."""
        shape = (rows, channels, 1, 1)
        alpha = sigma * torch.randn(shape, generator=rng)
        return StyleNoise(alpha, sigma * torch.randn(shape, generator=rng))

    def repeated(self, rows: int, like: Tensor) -> StyleNoise:
        """Each row `rows` times side by side, where `like` is."""
        alpha, beta = (t.to(like).repeat_interleave(rows, 0) for t in (self.alpha, self.beta))
        return StyleNoise(alpha, beta)


class Rectifier(nn.Sequential):
    """Three unpadded dilated convolutions; the style of what they give is a correction.

    Args:
        channels: of its input and output.
        kernel: odd side, 7 as published.
        dilation: 2 as published.

    State-dict keys: `{0,3,6}` convolutions, `{1,4}` normalisations, all with weight and bias.
    """

    def __init__(self, channels: int, kernel: int, dilation: int):
        def convolution() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, kernel, dilation=dilation)

        super().__init__(
            convolution(),
            LayerNorm2d(channels),
            nn.ReLU(),
            convolution(),
            LayerNorm2d(channels),
            nn.ReLU(),
            convolution(),
        )
        self.shrinks = 3 * (kernel - 1) * dilation
        """How much smaller the output is, in positions per side."""


Adapter = Callable[[Tensor], Tensor]


def perturbed(features: Tensor, centre: Tensor, noise: StyleNoise) -> Tensor:
    """`(1 + alpha) x - alpha c + beta c`: another contrast about `centre`, and another mean.

    Features are [N, C, h, w], the centre is [N or 1, C, 1, 1].
    """
    return (1 + noise.alpha) * features - noise.alpha * centre + noise.beta * centre


def moved(features: Tensor, old: Style, new: Style) -> Tensor:
    """`features` of style `old` with style `new`."""
    return (features - old.mean) / (EPS + old.var) * new.var + new.mean


def rectified(features: Tensor, adapter: Adapter) -> tuple[Tensor, Style]:
    """`features` [N, C, h, w] with the style that the adapter proposes, and that style.

    The adapter's output changes the style by factors `1 + mean` and `1 + variance`; no gradient
    flows into its input.
    """
    style = Style.of(features)
    change = Style.of(adapter(features.detach()))
    target = style.scaled(change.mean, change.var)
    return moved(features, style, target), target


def cycled(features: Tensor, style: Style, adapter: Adapter, noise: StyleNoise) -> Style:
    """The style after rectified `features` of `style` were perturbed and rectified again."""
    disturbed = style.scaled(noise.beta, noise.alpha)
    change = Style.of(adapter(moved(features, style, disturbed).detach()))
    return disturbed.scaled(change.mean, change.var)
