"""The two k-means rules of training-free hosts, and an initialisation without random numbers.

They differ in the distance and in what becomes of a cluster that no token chooses:

* `cosine_kmeans` (FSSDINO): cosine distance, an empty cluster is refilled with a token;
* `euclidean_kmeans` (RSRM): Euclidean distance, an empty cluster moves to the origin and is
  dropped at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Initial = Callable[[Tensor, int], Tensor]
"""(tokens [n, C], number of centres k <= n) -> which tokens are the first centres, int64 [k]."""

ITERATIONS = 100
ROUNDS_PER_WAIT = 8
"""Rounds between two questions which runs have ended: for each the host waits for an accelerator.

A run that has ended stays as it is, and a round costs little beside the encoder.
"""


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
        # Not `tokens[...]`: it would read the number of the token from an accelerator.
        last = tokens.index_select(0, chosen[-1][None])
        nearest = nearest.minimum((tokens - last).square().sum(1))
        chosen.append(nearest.argmax())
    return torch.stack(chosen)


class KMeans(ABC):
    """One run of k-means, round by round; nothing of it makes the host wait for an accelerator.

    Args:
        tokens: [n, C].
        count: of centres, at most n.
        initial: which tokens are the first centres.
        tolerance: of the centres' shift, below which the run has ended.

    Attributes:
        centres: [count, C].
        ended: whether they stay as they are, a bool without dimensions.
    """

    def __init__(self, tokens: Tensor, count: int, initial: Initial, *, tolerance: float = 1e-4):
        self.tokens = tokens
        self.tolerance = tolerance
        self.centres = tokens[self._first(count, initial)]
        self._sizes = torch.ones(count, dtype=tokens.dtype, device=tokens.device)
        self.ended = torch.zeros((), dtype=torch.bool, device=tokens.device)

    def step(self) -> None:
        """The next round; it changes nothing if the run has ended."""
        updated, sizes = self._means(self._nearest())
        ended = self.ended | self._is_close(updated - self.centres)
        self.centres = torch.where(self.ended, self.centres, updated)
        self._sizes = torch.where(self.ended, self._sizes, sizes)
        self.ended = ended

    @property
    def whole(self) -> Tensor:
        """Whether no cluster was empty in the last round, a bool without dimensions."""
        return (self._sizes > 0).all()

    def kept(self) -> Tensor:
        """The centres that are left in the end, where a cluster was empty."""
        return self.centres

    def _first(self, count: int, initial: Initial) -> Tensor:
        return initial(self.tokens, count)

    def _means(self, nearest: Tensor) -> tuple[Tensor, Tensor]:
        return _means(self.tokens, nearest, len(self.centres))

    @abstractmethod
    def _nearest(self) -> Tensor:
        """The number of each token's centre, [n]."""

    @abstractmethod
    def _is_close(self, shifts: Tensor) -> Tensor:
        """Whether the centres' shifts [count, C] are small."""


class CosineKMeans(KMeans):
    """As FSSDINO computes it, by cosine distance.

    A token goes to the centre with the smallest `1 - cosine`, the first among equals; a centre
    becomes the mean of its tokens, not normalised. The t-th cluster found empty in this run takes
    token `t mod n`, where the published code draws one. The run ends when the square of the
    summed shifts is below `tolerance`, or after 100 rounds (published: no limit). `initial` is
    given the tokens with unit length.
    """

    def _first(self, count: int, initial: Initial) -> Tensor:
        self._unit = F.normalize(self.tokens, dim=1)
        self._refills = torch.zeros((), dtype=torch.long, device=self.tokens.device)
        return initial(self._unit, count)

    def _nearest(self) -> Tensor:
        return (1 - _products(self._unit, F.normalize(self.centres, dim=1))).argmin(1)

    def _means(self, nearest: Tensor) -> tuple[Tensor, Tensor]:
        updated, sizes = super()._means(nearest)
        empty = sizes == 0
        places = (self._refills + empty.cumsum(0) - 1) % len(self.tokens)
        self._refills = self._refills + empty.sum()
        return torch.where(empty[:, None], self.tokens[places], updated), sizes

    def _is_close(self, shifts: Tensor) -> Tensor:
        return shifts.norm(dim=1).sum() ** 2 < self.tolerance


class EuclideanKMeans(KMeans):
    """As RSRM computes it, by Euclidean distance.

    A token goes to the centre with the largest `2ab - |a|^2 - |b|^2`. An empty cluster's centre is
    the zero vector in the next round; one that is empty in the last round is to be dropped
    (published: NaN). The run ends when the summed squared shift is at most `tolerance`, or after
    100 rounds.
    """

    def _nearest(self) -> Tensor:
        # The term |a|^2 of a token is the same for all centres.
        return (2 * _products(self.tokens, self.centres) - self.centres.square().sum(1)).argmax(1)

    def _is_close(self, shifts: Tensor) -> Tensor:
        return shifts.square().sum() <= self.tolerance

    def kept(self) -> Tensor:
        """The centres of those clusters that hold a token."""
        return self.centres[self._sizes > 0]


def settled(runs: Sequence[KMeans]) -> list[Tensor]:
    """Centres [at most count, C] of each run, after as many rounds as it takes.

    The runs go on side by side, so that an accelerator is waited for once for all of them.
    """
    left, whole = dict(enumerate(runs)), dict[int, bool]()
    for number in range(1, ITERATIONS + 1):
        for run in left.values():
            run.step()
        if left and (number % ROUNDS_PER_WAIT == 0 or number == ITERATIONS):
            states = torch.stack([torch.stack((r.ended, r.whole)) for r in left.values()]).tolist()
            told = dict(zip(left, states, strict=True))
            whole |= {place: is_whole for place, (_, is_whole) in told.items()}
            left = {place: run for place, run in left.items() if not told[place][0]}
    return [run.centres if whole[place] else run.kept() for place, run in enumerate(runs)]


def cosine_kmeans(
    tokens: Tensor, count: int, initial: Initial, *, tolerance: float = 1e-4
) -> Tensor:
    """Centres [count, C] of `tokens` as `CosineKMeans` finds them."""
    return settled([CosineKMeans(tokens, count, initial, tolerance=tolerance)])[0]


def euclidean_kmeans(
    tokens: Tensor, count: int, initial: Initial, *, tolerance: float = 1e-4
) -> Tensor:
    """Centres [at most count, C] of `tokens` as `EuclideanKMeans` finds them."""
    return settled([EuclideanKMeans(tokens, count, initial, tolerance=tolerance)])[0]


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
