"""Weights of a transformer's layers from the supports alone (SAFR of RSRM), and the fused map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.transfer import onto

from .token_masks import never_lost

CHANNELS_PER_POSITION = 200
"""Of this many channels, one is taken as a position channel."""
EPS = 1e-8


def residual_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks [N, H, W] of 0 and 1 at token resolution: bool [N, h, w], empty only if the mask is.

    Bilinear with aligned corners, above a half; if nothing is left, nearest neighbour; if nothing
    is left either, the cell of the mask's centroid. The published code stops there.
    """
    here = masks == 1
    values = here[:, None].float()
    low = F.interpolate(values, size, mode="bilinear", align_corners=True)[:, 0] > 0.5
    return never_lost(low, here)


def position_channels(variance: Tensor) -> Tensor:
    """The channels with the largest spatial `variance` [C] in the last map: [n]."""
    return variance.topk(max(1, round(len(variance) / CHANNELS_PER_POSITION))).indices


def selected_layers(rates: Tensor) -> Tensor:
    """Layers between those that carry position, bool [L], from each layer's share of it [L].

    Behind each layer whose rate is above the mean, up to the next such layer or the end, the one
    with the smallest rate is selected; where nothing lies between, none.
    """
    is_peak = rates > rates.mean()
    part = is_peak.cumsum(0)  # 0 before the first of them
    places = torch.arange(len(rates), device=rates.device)
    # Of layers [L, L]: whether the second, in the same part, is chosen rather than the first.
    lower = (rates < rates[:, None]) | ((rates == rates[:, None]) & (places < places[:, None]))
    beaten = (lower & (part == part[:, None]) & ~is_peak).any(1)
    return ~is_peak & (part > 0) & ~beaten


def layer_weights(residuals: Tensor, channels: Tensor, mask: Tensor) -> Tensor:
    """One support's weights [L]: Fisher's ratio over the share of position, where selected.

    A support with fewer than two tokens of a class weighs no layer (published: stops).

    Args:
        residuals: [L, C, h, w].
        channels: that carry position, [n].
        mask: of the tokens, bool [h, w], on the host.
    """
    variance = residuals.flatten(2).var(2)
    total, position = variance.sum(1), variance[:, channels].sum(1)
    chosen = selected_layers(position / (total + EPS))
    fisher = fisher_ratio(residuals, mask)
    return torch.where(chosen, fisher * total / (position + EPS), 0)


def fisher_ratio(residuals: Tensor, mask: Tensor) -> Tensor:
    """Squared distance of the class means over the summed variances, per layer: [L].

    Zero where a class has fewer than two tokens. Only the covariances' traces are needed.

    Args:
        residuals: [L, C, h, w].
        mask: bool [h, w], on the host.
    """
    rows = residuals.flatten(2)
    fore, back = (rows[:, :, chosen(part, rows.device)] for part in (mask, ~mask))
    if min(fore.shape[2], back.shape[2]) < 2:
        return residuals.new_zeros(len(residuals))
    between = (fore.mean(2) - back.mean(2)).square().sum(1)
    within = (fore.var(2) + back.var(2)).sum(1) + residuals.shape[1] * EPS
    return between / within


def mean_weights(weights: Tensor) -> Tensor:
    """Weights [L] with sum 1 from those of K supports [K, L]; equal where all are 0."""
    mean = weights.sort(0).values.mean(0)  # sorted, so that the supports' order does not count
    total = mean.sum()
    return torch.where(total > 0, mean / total, 1 / len(mean))


def fused(residuals: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum [C, h, w] of an image's residuals [L, C, h, w], each over its deviation."""
    # By value, not by number: the host would wait for an accelerator to learn which are used.
    residuals = residuals.masked_fill((weights == 0)[:, None, None, None], 0)
    spread = residuals.flatten(1).std(1).clamp_min(EPS)
    return ((weights / spread)[:, None, None, None] * residuals).sum(0)


def chosen(mask: Tensor, device: torch.device) -> Tensor:
    """Numbers of the positions, row by row, at which a mask of the host is set, on `device`."""
    return onto(mask.flatten().nonzero()[:, 0], device)
