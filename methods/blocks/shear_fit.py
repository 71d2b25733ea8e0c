"""Fitting an adapter to one episode: features shall agree with those of sheared copies.

Herzog, "Adapt Before Comparison" (CVPR 2024), section 3; ABCDFSS `contrastivehead.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.transfer import onto

WIDTH = 64
"""Channels that an adapter gives."""
LR = 0.01
"""Of plain gradient descent."""
TEMPERATURE = 0.5
"""Of the contrastive term."""
MASS_EPS = 1e-8
"""Added to the sum of a mask."""


class Adapter(nn.Module):
    """`linear(relu(bn(conv(x))))`, both layers 1x1; it always normalises by what it is shown.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTH, 1)
        self.bn = nn.BatchNorm2d(WIDTH, track_running_stats=False)
        self.linear = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, 64, h, w]; the N maps share their statistics."""
        return self.linear(F.relu(self.bn(self.conv(maps))))

    @torch.no_grad()
    def draw(self, rng: torch.Generator) -> None:
        """Takes initial values as torch does, from `rng`: uniform in +-1/sqrt(inputs), 1 and 0."""
        for layer in (self.conv, self.linear):
            bound = 1 / math.sqrt(layer.in_channels)
            for parameter in layer.parameters():
                drawn = torch.rand(parameter.shape, generator=rng, device=rng.device)
                parameter.copy_(onto((2 * drawn - 1) * bound, parameter.device))
        self.bn.reset_parameters()


@dataclass(frozen=True, slots=True)
class Views:
    """What one adapter is fitted to: A copies of a query and of each of K supports."""

    query: Tensor  # features of the query, sheared [A, C, h, w]
    query_seen: Tensor  # features of the sheared query [A, C, h, w]
    support: Tensor  # the supports', sheared [K * A, C, h, w], a support's copies together
    support_seen: Tensor  # features of the sheared supports [K * A, C, h, w]
    masks: Tensor  # of the supports, sheared, soft at the border [K * A, h, w]

    @property
    def copies(self) -> int:
        """A."""
        return len(self.query)


def contrast(own: Tensor, seen: Tensor) -> Tensor:
    """InfoNCE: each position of `own` against all positions of `seen`, unit maps [N, 64, h, w]."""
    logits = own.flatten(2).mT @ seen.flatten(2) / TEMPERATURE
    return (logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)).mean()


def statistics_gap(own: Tensor, seen: Tensor) -> Tensor:
    """Mean absolute difference of each channel's mean, plus that of its unbiased variance."""
    means = own.mean((2, 3)) - seen.mean((2, 3))
    return means.abs().mean() + (own.var((2, 3)) - seen.var((2, 3))).abs().mean()


def prototypes(maps: Tensor, masks: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    """Foreground and background means [A, 64], over the K supports, of maps [K * A, 64, h, w]."""
    by_copy = maps.unflatten(0, (-1, copies))
    fore = masks.unflatten(0, (-1, copies))[:, :, None]

    def mean(weights: Tensor) -> Tensor:
        return (by_copy * weights).sum((0, 3, 4)) / (weights.sum((0, 3, 4)) + MASS_EPS)

    return mean(fore), mean(1 - fore)


def prototype_term(own: Tensor, seen: Tensor, masks: Tensor, copies: int) -> Tensor:
    """Cross entropy of a copy's foreground mean being like that of the sheared image's features.

    Rather than like their background mean; an empty mask gives log 2.
    """
    fore, _ = prototypes(own, masks, copies)
    seen_fore, seen_back = prototypes(seen, masks, copies)
    right = F.cosine_similarity(fore, seen_fore)
    wrong = F.cosine_similarity(fore, seen_back)
    return F.softplus(wrong - right).mean()


def terms(adapter: Adapter, views: Views) -> Tensor:
    """The five summands of the loss, [5].

    Contrast and statistics of the query, the same of the supports, prototypes.
    """
    query, query_seen, support, support_seen = (
        F.normalize(adapter(maps))
        for maps in (views.query, views.query_seen, views.support, views.support_seen)
    )
    return torch.stack(
        (
            contrast(query, query_seen),
            statistics_gap(query, query_seen),
            contrast(support, support_seen),
            statistics_gap(support, support_seen),
            prototype_term(support, support_seen, views.masks, views.copies),
        )
    )


def fit(adapter: Adapter, views: Views, steps: int) -> Tensor:
    """Changes `adapter` in `steps` steps of gradient descent; the terms before each, [steps, 5]."""
    optimizer = torch.optim.SGD(adapter.parameters(), lr=LR)
    found: list[Tensor] = []
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            now = terms(adapter, views)
            now.sum().backward()
            optimizer.step()
            found.append(now.detach())
    optimizer.zero_grad(set_to_none=True)
    return torch.stack(found) if found else torch.empty((0, 5))
