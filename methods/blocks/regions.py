"""FPTrans's background regions: one token cannot stand for all of a background."""

from __future__ import annotations

import torch
from torch import Tensor

REGIONS = 5
"""Regions per support image (FPTrans, `bg_num`)."""


def background(mask: Tensor) -> Tensor:
    """Bool [h, w]: where `mask` [h, w] is 0.

    Of a mask with fewer than five such positions the first five are background too, as published.
    """
    back = mask == 0
    if int(back.sum()) < REGIONS:
        back = back.clone()
        back.view(-1)[:REGIONS] = True
    return back


def regions(back: Tensor, first: int) -> Tensor:
    """The background [h, w] (bool, five positions at least) cut into five regions, bool [5, h, w].

    Five centres are chosen, each the farthest from those before it, and every position belongs to
    its nearest centre; ties go to the earlier one. `first` is the number of the first centre among
    the positions, row by row.
    """
    places = back.nonzero()
    nearest = _squared_distances(places, first)
    distances = [nearest]
    for _ in range(REGIONS - 1):
        distances.append(_squared_distances(places, int(nearest.argmax())))
        nearest = torch.minimum(nearest, distances[-1])
    owner = torch.stack(distances).argmin(0)
    found = torch.zeros((REGIONS, *back.shape), dtype=torch.bool, device=back.device)
    found[owner, places[:, 0], places[:, 1]] = True
    return found


def drawn_first(back: Tensor, rng: torch.Generator) -> int:
    """A first centre for `regions`, drawn from `rng`."""
    return int(torch.randint(int(back.sum()), (), generator=rng))


def region_means(features: Tensor, found: Tensor) -> Tensor:
    """Means [N, R, C] of `features` [N, C, h, w] over `found` [N, R, h, w]; 0 for an empty one."""
    weights = found.flatten(2).to(features.dtype)
    sums = weights @ features.flatten(2).transpose(1, 2)
    return sums / weights.sum(2, keepdim=True).clamp_min(1)


def _squared_distances(places: Tensor, centre: int) -> Tensor:
    return (places - places[centre]).square().sum(1)
