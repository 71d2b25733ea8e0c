"""Scores of a map's positions, spread among neighbours that look alike (FROST)."""

from __future__ import annotations

import torch
from torch import Tensor

LIKENESS = 0.20
"""Temperature of the cosine of features."""
COLOUR = 0.05
"""Scale of the squared distance of colours, which are in [0, 1]."""
RADIUS = 16
"""Positions farther apart are no neighbours."""
KEPT = 0.3
"""Share of the original score in each step."""
STEPS = 10
EPS = 1e-6


def smoothed(scores: Tensor, unit: Tensor, colours: Tensor, size: tuple[int, int]) -> Tensor:
    """`scores` [N] after `STEPS` steps of a walk on the grid (h, w) that returns to them, [N].

    Neighbours weigh by the cosine of their features `unit` [C, N], by their `colours` in [0, 1] [3,
    N] and by how near their original scores are in units of the standard deviation.
    """
    spread = scores.std() + EPS
    weights = unit.mT @ unit / LIKENESS
    for colour in colours:
        weights -= (colour[:, None] - colour).square_() / COLOUR
    weights -= ((scores[:, None] - scores) / spread).square_()
    weights.exp_().mul_(_near(size, scores.device)).fill_diagonal_(0)
    weights /= weights.sum(1, keepdim=True).clamp(min=EPS)
    found = scores[:, None]
    for _ in range(STEPS):
        found = KEPT * scores[:, None] + (1 - KEPT) * (weights @ found)
    return found[:, 0]


def _near(size: tuple[int, int], device: torch.device) -> Tensor:
    rows = torch.arange(size[0], device=device).repeat_interleave(size[1])
    columns = torch.arange(size[1], device=device).repeat(size[0])
    squared = (rows[:, None] - rows).square_() + (columns[:, None] - columns).square_()
    return squared <= RADIUS**2
