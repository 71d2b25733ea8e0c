"""PerSAM-F's mixture of three masks: two numbers, learnt by AdamW on dice and focal loss.

Everything else stays as it is, so the masks are constants and a step is elementwise work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEARNING_RATE, EPS, BETAS, WEIGHT_DECAY = 1e-3, 1e-4, (0.9, 0.999), 0.01
FOCAL_ALPHA, DICE_SMOOTHING = 0.25, 1.0


def equal_mixture(masks: Tensor) -> Tensor:
    """A third for each of three masks: where PerSAM-F begins."""
    return masks.new_full((3,), 1 / 3)


class MixingStep(NamedTuple):
    """One step of PerSAM-F."""

    dice: Tensor  # before the step
    focal: Tensor  # before the step
    gradient: Tensor  # of their sum with respect to w1 and w2 [2]
    rate: float  # of the step
    mixture: Tensor  # (1 - w1 - w2, w1, w2) after the step [3]


def mixing_steps(logits: Tensor, truth: Tensor, steps: int) -> Iterator[MixingStep]:
    """Learns w1 and w2: AdamW on dice and focal loss, its rate on a cosine down to zero.

    `logits` [K, 3, H, W] are of three masks of each of K supports, `truth` [K, H, W] is 0 and 1.
    """
    weights = torch.full((2,), 1 / 3, dtype=logits.dtype, device=logits.device)
    optimizer = torch.optim.AdamW(
        [weights], lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY
    )
    base, first, second = logits.flatten(2).unbind(1)
    slopes = torch.stack((first - base, second - base))
    objective = MixingObjective(truth.flatten(1))
    for step in range(steps):
        rate = LEARNING_RATE / 2 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = rate
        mixed = base + weights[0] * slopes[0] + weights[1] * slopes[1]
        dice, focal, slope = objective(mixed)
        weights.grad = (slopes * slope).sum((1, 2))
        optimizer.step()
        mixture = torch.cat((1 - weights.sum(0, keepdim=True), weights))
        yield MixingStep(dice, focal, weights.grad, rate, mixture)


class MixingObjective:
    """Dice and focal loss of logits [K, P], means over K, and the derivative of their sum.

    Written out, since a thousand steps of automatic differentiation take several times as long. The
    truth is 0 and 1, float [K, P].
    """

    def __init__(self, truth: Tensor):
        self._truth = truth
        self._inside = truth.sum(1, keepdim=True)
        self._sign = 2 * truth - 1
        alpha = (1 - FOCAL_ALPHA) + (2 * FOCAL_ALPHA - 1) * truth
        self._alpha = alpha / truth.numel()

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Dice, focal, and the derivative of their sum with respect to the logits [K, P]."""
        probability = logits.sigmoid()
        right = F.logsigmoid(self._sign * logits)
        of_truth = right.exp()
        wrong = 1 - of_truth
        scale = self._alpha * wrong.square()
        focal = -(scale * right).sum()
        focal_slope = self._sign * scale * (2 * of_truth * right - wrong)
        above = 2 * (probability * self._truth).sum(1, keepdim=True) + DICE_SMOOTHING
        below = probability.sum(1, keepdim=True) + self._inside + DICE_SMOOTHING
        dice = (1 - above / below).mean()
        of_probability = (above / below - 2 * self._truth) / (below * len(logits))
        slope = focal_slope + of_probability * probability * (1 - probability)
        return dice, focal, slope
