"""Cycle-consistent selection: query cells whose best match leads back to the class of its origin.

A support cell j of class c has its most similar query cell i*, and that one its most similar
support cell j*. If j* has class c too, i* is taken for a cell of class c of the query (the rule
usual in few-shot segmentation, CyCTR, NeurIPS 2021). Similarity is the cosine. Of equally similar
cells the first counts. Nothing here is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_AT_ONCE = 2**20
"""Cosines that are computed at once, 4 MiB: all of two maps of 64x64 cells are 64 MiB."""
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Matches:
    """What the cosines of S support cells to Q query cells amount to."""

    to_query: Tensor  # the most similar query cell of each support cell [S]
    to_support: Tensor  # the most similar support cell of each query cell [Q]
    likeness: Tensor  # highest cosine of each query cell to one of the object [Q]; else 0

    def kept(self, members: Tensor) -> Tensor:
        """Query cells, bool [Q], that lead back to a class's support cells, bool [S]."""
        reached = torch.zeros_like(self.to_support).index_add_(0, self.to_query, members.long())
        return (reached > 0) & members[self.to_support]


@torch.no_grad()
def matched(support: Tensor, query: Tensor, inside: Tensor) -> Matches:
    """The matches of cells [S, C] and [Q, C]; `inside` are the support's object's, bool [S]."""
    shown, asked = _unit(support), _unit(query)
    columns = torch.arange(len(asked), device=asked.device)
    best = asked.new_full((len(asked),), -torch.inf)
    likeness = best.clone()
    to_support = torch.zeros_like(columns)
    to_query: list[Tensor] = []
    step = max(1, _AT_ONCE // len(asked))
    for begin in range(0, len(shown), step):
        cosines = shown[begin : begin + step] @ asked.t()
        to_query.append(cosines.argmax(1))
        row = cosines.argmax(0)
        highest = cosines[row, columns]
        to_support = torch.where(highest > best, row + begin, to_support)
        best = torch.maximum(best, highest)
        object_rows = torch.where(inside[begin : begin + step, None], cosines, -torch.inf)
        likeness = torch.maximum(likeness, object_rows.amax(0))
    return Matches(torch.cat(to_query), to_support, likeness.where(likeness.isfinite(), 0.0))


def _unit(cells: Tensor) -> Tensor:
    return cells / cells.norm(dim=1, keepdim=True).clamp(min=_LEAST)
