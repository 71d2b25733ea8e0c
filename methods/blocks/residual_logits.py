"""Prior-aware calibration (PAC): residual logits from features, colours and attention.

HERA (CVPR 2026), `RefineModule_Simple`: what the prediction takes for foreground and background is
averaged in three spaces, and the similarity of each position to both averages corrects the
prediction.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OF_FEATURES, OF_IMAGE, OF_ATTENTION = 0.35, 0.30, 1.1
"""Weights of the three residuals."""
NAMES = ("features", "image", "attention")
SMALLEST, LARGEST = 0.5, 2.0
"""Bounds of the factor that brings a residual to the size of the prediction."""
EPS = 1e-6


def prior_logit(logits: Tensor) -> Tensor:
    """The prediction as one logit [N, 1, H, W] of `logits` [N, 2, H, W]."""
    return _logit(logits.softmax(1)[:, 1:])


def residuals(
    logits: Tensor, features: Tensor, images: Tensor, graph: Tensor | None = None
) -> dict[str, Tensor]:
    """The residuals before they are scaled, each [N, 1, H, W]; `attention` if there is a graph.

    Args:
        logits: the prediction, [N, 2, H, W].
        features: [N, C, h, w].
        images: ImageNet-normalised, [N, 3, H, W].
        graph: how positions attend to each other, [N, h*w, h*w]; rows are divided by their sum.
    """
    size = (logits.shape[-2], logits.shape[-1])
    grid = (features.shape[-2], features.shape[-1])
    share = F.adaptive_avg_pool2d(prior_probability(logits), grid)
    found = {
        "features": _likeness(features, share, size),
        "image": _likeness(F.adaptive_avg_pool2d(images, grid), share, size),
    }
    if graph is not None:
        rows = graph / (graph.sum(-1, keepdim=True) + EPS)
        spread = (rows @ share.flatten(1)[..., None]).reshape(share.shape)
        found["attention"] = _logit(_enlarged(spread, size))
    return found


def prior_probability(logits: Tensor) -> Tensor:
    """Foreground probability [N, 1, H, W] of `logits` [N, 2, H, W], kept off 0 and 1."""
    return logits.softmax(1)[:, 1:].clamp(EPS, 1 - EPS)


def scale_of(residual: Tensor, prior: Tensor) -> Tensor:
    """The factor [N, 1, 1, 1] that brings `residual` to the mean size of `prior`, bounded."""
    mean = prior.abs().mean((1, 2, 3), keepdim=True)
    own = residual.abs().mean((1, 2, 3), keepdim=True)
    return (mean / (own + EPS)).clamp(SMALLEST, LARGEST)


def calibrated(
    logits: Tensor,
    features: Tensor,
    images: Tensor,
    graph: Tensor | None = None,
    *,
    weights: tuple[float, float, float] = (OF_FEATURES, OF_IMAGE, OF_ATTENTION),
) -> Tensor:
    """Logits [N, 2, H, W] = [-l, l], l the prior's logit plus the weighted, scaled residuals.

    The first four arguments are those of `residuals`.
    """
    prior = prior_logit(logits)
    total = prior
    named: dict[str, float] = dict(zip(NAMES, weights, strict=True))
    for name, residual in residuals(logits, features, images, graph).items():
        total = total + named[name] * scale_of(residual, prior) * residual
    return torch.cat((-total, total), dim=1)


def _likeness(maps: Tensor, share: Tensor, size: tuple[int, int]) -> Tensor:
    """Cosine to the foreground's mean direction less that to the background's, standardised."""
    unit = F.normalize(maps, dim=1)
    fore, back = (
        F.normalize((unit * w).sum((2, 3)) / (w.sum((2, 3)) + EPS), dim=1)[..., None, None]
        for w in (share, 1 - share)
    )
    score = (unit * fore).sum(1, keepdim=True) - (unit * back).sum(1, keepdim=True)
    mean = score.mean((1, 2, 3), keepdim=True)
    return _enlarged((score - mean) / (score.std((1, 2, 3), keepdim=True) + EPS), size)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _logit(probability: Tensor) -> Tensor:
    kept = probability.clamp(EPS, 1 - EPS)
    return kept.log() - (1 - kept).log()
