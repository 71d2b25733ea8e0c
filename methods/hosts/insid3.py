"""INSID3: in-context segmentation with one frozen DINOv3 (CVPR 2026, arXiv 2603.28480).

Nothing is trained and nothing drawn. Features are rid of what tells positions (`debiased.py`),
query positions that match the supports are candidates, and of the query's clusters those are the
object that lie close to the best-matched one. The mask is decided at the map's resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..blocks.candidates import agreeing, alike, mean_prototype
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Plugin
from .debiased import MAP, Debiased, unit_columns

PUBLISHED_DIRECTIONS = 500


class Clusters(NamedTuple):
    """The clusters of one query, numbered by their first position in row-major order."""

    labels: Tensor  # of each position, [N]
    prototypes: Tensor  # mean debiased feature of each, of length 1, [G, C]
    scores: Tensor  # what is compared with alpha, [G]


class Matched(NamedTuple):
    """What is known of a query before its clusters are."""

    unit: Tensor  # features of the query, of length 1 at each position, [C, N]
    tokens: Tensor  # the same, debiased, [C, N]
    prototype: Tensor  # of the object in the supports, of length 1, [C]
    similarity: Tensor  # cosine of each position to it, [N]
    candidates: Tensor  # bool [N]


class Decision(NamedTuple):
    """What INSID3 computes of one query and its K supports."""

    matched: Matched  # before clusters are known
    clusters: Clusters | None  # None where there are no candidates
    mask: Tensor  # bool [N]


class INSID3(Debiased):
    """Clusters of the query that match the supports and are like the best-matched one.

    Options: see `insid3.yaml`.
    """

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        size: int = 0,
        svd: int = -1,
        tau: float = 0.6,
        alpha: float = 0.2,
    ):
        super().__init__(backbone, plugins, size=size, svd=svd, published=PUBLISHED_DIRECTIONS)
        self.tau = tau
        self.alpha = alpha

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Debiased features [1, C, M] and the mask at the map's resolution, bool [1, M]."""
        maps = support.tensors[MAP]
        tokens = self.debiased(unit_columns(maps), support.size)
        seen = self.seen(masks, (maps.shape[-2], maps.shape[-1])).flatten(1)
        rows = FeatureBatch(support.size, {"tokens": tokens, "seen": seen})
        return [rows[i : i + 1] for i in range(len(rows))]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """The share of object around each pixel against a half, [B, 1, 2, H, W].

        Masks are decided at the map's resolution; bilinear interpolation of such a mask exceeds a
        half where the published code says foreground.
        """
        rows = FeatureBatch.cat(cast("Sequence[FeatureBatch]", states))
        maps = query.tensors[MAP]
        found: list[Matched] = []
        for index, one in enumerate(unit_columns(maps)):
            own = rows[index * shots : (index + 1) * shots].tensors
            tokens = self.debiased(one, query.size)
            found.append(matched(one, tokens, own["tokens"], own["seen"]))
        decided = torch.stack([decision.mask for decision in self.decisions(found)])
        decided = decided.unflatten(1, maps.shape[-2:])[:, None].float()
        shares = F.interpolate(decided, query.size, mode="bilinear", align_corners=False)
        return torch.stack((torch.full_like(shares, 0.5), shares), dim=2)

    def decisions(self, queries: Sequence[Matched]) -> list[Decision]:
        """What is computed of several queries, whose clusters are found on the host together."""
        distances = torch.stack([cosine_distances(one.unit) for one in queries])
        are_any = torch.stack([one.candidates.any() for one in queries])
        # The host waits for the device here, once.
        told = torch.cat((distances.flatten(1), are_any[:, None]), dim=1).detach().cpu()
        distances, are_any = told[:, :-1].view(distances.shape), told[:, -1].tolist()
        found: list[Decision] = []
        for one, apart, is_any in zip(queries, distances, are_any, strict=True):
            clusters, mask = None, one.candidates
            if is_any:
                clusters = self.clustered(one, average_linkage(apart, 1 - self.tau))
                mask = (clusters.scores > self.alpha)[clusters.labels]
            found.append(Decision(one, clusters, mask))
        return found

    def clustered(self, query: Matched, labels: Tensor) -> Clusters:
        """Clusters of the undebiased features, by the number of each position's, [N], on the host.

        The score is likeness to the supports' prototype, times likeness to the best-matched cluster
        (the seed), times the share of candidates; the last factor is in the published code and not
        in the paper. The seed's share counts as 1.
        """
        unit, tokens, prototype, similarity, candidates = query
        members = onto(F.one_hot(labels).to(unit.dtype), unit.device)
        counts = members.sum(0)
        told = torch.stack((candidates.to(unit.dtype), similarity)) @ members / counts
        agreed, cross = told
        own = F.normalize((tokens @ members / counts).mT, dim=1)
        plain = F.normalize((unit @ members / counts).mT, dim=1)
        seed = (own @ prototype[:, None])[:, 0].masked_fill(agreed == 0, -torch.inf).argmax()
        share = agreed.index_fill(0, seed, 1.0)
        intra = (plain @ plain.index_select(0, seed[None]).mT)[:, 0]
        return Clusters(onto(labels, unit.device), own, cross * intra * share)


def matched(unit: Tensor, tokens: Tensor, references: Tensor, seen: Tensor) -> Matched:
    """Where a query looks like the object of its K supports.

    Features of the query are [C, N], of length 1 at each position, as they are and debiased;
    debiased ones of the supports [K, C, M], their masks bool [K, M].
    """
    # The mean of the shots' means, then one normalisation.
    prototype = F.normalize(mean_prototype(references, seen), dim=0)
    similarity = (prototype[None] @ tokens)[0]
    candidates = agreeing(tokens, references, seen, alike(similarity))
    return Matched(unit, tokens, prototype, similarity, candidates)


def cosine_distances(unit: Tensor) -> Tensor:
    """`1 - cosine` of all pairs of positions, [N, N], of `unit` [C, N] of length 1 at each."""
    return 1 - (unit.mT @ unit).clamp(-1, 1)


def average_linkage(distances: Tensor, distance: float) -> Tensor:
    """Clusters by average linkage (UPGMA) of distances [N, N] on the host.

    Those stay apart whose mean distance is above `distance`. Labels [N] are in the order of the
    first position of each cluster.
    """
    count = len(distances)
    if count == 1:
        return torch.zeros(1, dtype=torch.long)
    pairs = distances.numpy()[np.triu_indices(count, 1)].astype(np.float64)
    found = fcluster(linkage(pairs, "average"), distance, criterion="distance")
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return torch.from_numpy(order[inverse])
