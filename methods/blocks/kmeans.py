"""The two k-means rules of training-free hosts, and an initialisation without random numbers.

They differ in the distance and in what becomes of a cluster that no token chooses:

* `cosine_kmeans` (FSSDINO): cosine distance, an empty cluster is refilled with a token;
* `euclidean_kmeans` (RSRM): Euclidean distance, an empty cluster moves to the origin and is
  dropped at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Initial = Callable[[Tensor, int], Tensor]
"""(tokens [n, C], number of centres k <= n) -> which tokens are the first centres, int64 [k]."""

ITERATIONS = 100


def farthest_points(tokens: Tensor, count: int) -> Tensor:
    """The token nearest to the mean, then repeatedly the one farthest from those chosen: [count].

    Distances are Euclidean. The choice depends on the values alone, not on the tokens' order,
    except among tokens that are equally far.

    Args:
        tokens: [n, C].
        count: at most n.
    """
    chosen = [(tokens - tokens.mean(0)).square().sum(1).argmin()]
    nearest = torch.full((len(tokens),), torch.inf, dtype=tokens.dtype, device=tokens.device)
    for _ in range(count - 1):
        nearest = nearest.minimum((tokens - tokens[chosen[-1]]).square().sum(1))
        chosen.append(nearest.argmax())
    return torch.stack(chosen)


def cosine_kmeans(
    tokens: Tensor, count: int, initial: Initial, *, tolerance: float = 1e-4
) -> Tensor:
    """Centres [count, C] of `tokens` by cosine distance, as FSSDINO computes them.

    A token goes to the centre with the smallest `1 - cosine`, the first among equals; a centre
    becomes the mean of its tokens, not normalised. The t-th cluster found empty in this call takes
    token `t mod n`, where the published code draws one. The iteration ends when the square of the
    summed shifts is below `tolerance`, or after 100 rounds (published: no limit).

    Args:
        tokens: [n, C].
        count: of centres, at most n.
        initial: which tokens are the first centres; it is given them with unit length.
        tolerance: for the squared sum of the centres' shifts.
    """
    unit = F.normalize(tokens, dim=1)
    centres = tokens[initial(unit, count)]
    refills = 0
    for _ in range(ITERATIONS):
        nearest = (1 - _products(unit, F.normalize(centres, dim=1))).argmin(1)
        updated, sizes = _means(tokens, nearest, count)
        for empty in (sizes == 0).nonzero()[:, 0].cpu().tolist():
            updated[empty] = tokens[refills % len(tokens)]
            refills += 1
        shift = (updated - centres).norm(dim=1).sum()
        centres = updated
        if shift**2 < tolerance:
            break
    return centres


def euclidean_kmeans(
    tokens: Tensor, count: int, initial: Initial, *, tolerance: float = 1e-4
) -> Tensor:
    """Centres [at most count, C] of `tokens` by Euclidean distance, as RSRM computes them.

    A token goes to the centre with the largest `2ab - |a|^2 - |b|^2`. An empty cluster's centre is
    the zero vector in the next round; one that is empty in the last round is dropped (published:
    NaN). The iteration ends when the summed squared shift is at most `tolerance`, or after 100
    rounds.

    Args:
        tokens: [n, C].
        count: of centres, at most n.
        initial: which tokens are the first centres.
        tolerance: for the sum of the centres' squared shifts.
    """
    centres = tokens[initial(tokens, count)]
    sizes = torch.ones(count, device=tokens.device)
    for _ in range(ITERATIONS):
        # The term |a|^2 of a token is the same for all centres.
        nearest = (2 * _products(tokens, centres) - centres.square().sum(1)).argmax(1)
        updated, sizes = _means(tokens, nearest, count)
        shift = (updated - centres).square().sum()
        centres = updated
        if shift <= tolerance:
            break
    return centres[sizes > 0]


def _products(tokens: Tensor, centres: Tensor) -> Tensor:
    """Inner products [n, k]; equal centres get equal values, whatever a matrix product rounds."""
    equal = (centres[:, None] == centres).all(2)
    first = equal.to(torch.uint8).argmax(1)
    return (tokens @ centres.T)[:, first]


def _means(tokens: Tensor, nearest: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Means [count, C] of the tokens [n, C] of each cluster, zero where empty; sizes [count]."""
    members = F.one_hot(nearest, count).to(tokens.dtype)
    sizes = members.sum(0)
    return (members.T @ tokens) / sizes.clamp_min(1)[:, None], sizes
