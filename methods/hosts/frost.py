"""FROST: the ratio of foreground to background density on frozen features (arXiv 2606.31136, 2026).

Nothing is trained and nothing drawn. The supports and their mirror images give anchors of both
classes; each query position is scored by how much more densely it lies among the foreground's,
scores are smoothed on the grid, and the mask is kept near positions that match the supports.
Features are debiased as in INSID3 (`debiased.py`), whose gate of candidates is used too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..blocks.augment import IMAGE_MEAN, IMAGE_STD
from ..blocks.candidates import agreeing, alike, mean_prototype
from ..blocks.density_ratio import best_bandwidth, log_ratio
from ..blocks.grid_smoothing import smoothed
from ..blocks.whitening import products, whitening
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Plugin
from .debiased import MAP, Debiased, unit_columns

PUBLISHED_DIRECTIONS = 250
NEIGHBOURS, AGREEING = 3, 2
"""Best matches of a position in a reference, and how many of them must lie in its mask."""
GATE_RADIUS = 4
"""Times the share of foreground in the supports' masks: positions by which the gate is widened."""


class References(NamedTuple):
    """The views of an episode's supports: all as they are, then all mirrored."""

    tokens: Tensor  # debiased features [S, C, M]
    seen: Tensor  # their masks, bool [S, M]
    areas: Tensor  # pixels of foreground in each of the K supports' masks at image size, [K]
    pixels: int  # of such a mask


class Known(NamedTuple):
    """What the host knows of an episode's supports."""

    counts: tuple[int, int]  # of fore- and background tokens, mirrored ones included
    share: float  # of foreground in the supports' masks at image size
    matrix: Tensor | None  # that whitens, [C, C] on the device; None if a class has no token


class Query(NamedTuple):
    """One query on a map of `size` (h, w).

    Features of length 1 [C, N], the same debiased, and each position's mean colour in [0, 1], [3,
    N].
    """

    unit: Tensor
    tokens: Tensor
    colours: Tensor
    size: tuple[int, int]


class Density(NamedTuple):
    """Scores of one query's positions.

    The chosen bandwidth and the margin by which it tells the anchors apart have no dimensions; the
    log density ratio, as it is and smoothed on the grid, is [N].
    """

    bandwidth: Tensor
    margin: Tensor
    ratio: Tensor
    smoothed: Tensor


class Decision(NamedTuple):
    """What FROST computes of one query and its K supports.

    Whitened features [C, N], candidates bool [N], and where the mask may be, bool [h, w]. Where a
    class has no token, features are debiased only and there is no density.
    """

    whitened: Tensor
    candidates: Tensor
    gate: Tensor
    density: Density | None


class FROST(Debiased):
    """Density ratio of whitened features, smoothed, inside a gate of matching positions.

    Options: see `frost.yaml`.
    """

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        size: int = 0,
        svd: int = -1,
    ):
        super().__init__(backbone, plugins, size=size, svd=svd, published=PUBLISHED_DIRECTIONS)

    def features(self, images: Tensor) -> FeatureBatch:
        """`map`, its positions' mean `colours` [N, 3, h, w], and the `image`, to be mirrored."""
        rows = super().features(images)
        constants = onto(torch.tensor((IMAGE_MEAN, IMAGE_STD), dtype=images.dtype), images.device)
        mean, std = constants[..., None, None]
        colours = (self.backbone.sized(images) * std + mean).clamp(0, 1)
        grid = (rows.tensors[MAP].shape[-2], rows.tensors[MAP].shape[-1])
        named = {"colours": F.adaptive_avg_pool2d(colours, grid), "image": images}
        return FeatureBatch(rows.size, {**rows.tensors, **named})

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Debiased features of both views [1, 2, C, M], their masks [1, 2, M], pixels in the mask.

        The mirrored image is encoded here, since only supports are mirrored.
        """
        mirrored = self.encode(support.tensors["image"].flip(-1))
        tokens: list[Tensor] = []
        seen: list[Tensor] = []
        for maps, truth in (
            (support.tensors[MAP], masks),
            (mirrored.tensors[MAP], masks.flip(-1)),
        ):
            tokens.append(self.debiased(unit_columns(maps), support.size))
            seen.append(self.seen(truth, (maps.shape[-2], maps.shape[-1])).flatten(1))
        rows = FeatureBatch(
            support.size,
            {
                "tokens": torch.stack(tokens, 1),
                "seen": torch.stack(seen, 1),
                "area": (masks > 0).sum((1, 2)),
            },
        )
        return [rows[i : i + 1] for i in range(len(rows))]

    def references(self, states: Sequence[SupportState]) -> References:
        """The views of the K supports of one episode."""
        rows = FeatureBatch.cat(cast("Sequence[FeatureBatch]", states))
        tokens, seen = (rows.tensors[k].transpose(0, 1).flatten(0, 1) for k in ("tokens", "seen"))
        return References(tokens, seen, rows.tensors["area"], rows.size[0] * rows.size[1])

    def query(self, row: FeatureBatch) -> Query:
        """What is known of one query, a batch of length 1."""
        maps, colours = row.tensors[MAP], row.tensors["colours"]
        unit = unit_columns(maps)[0]
        grid = (maps.shape[-2], maps.shape[-1])
        return Query(unit, self.debiased(unit, row.size), colours[0].flatten(1), grid)

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """Foreground where the smoothed ratio and the gate say so, [B, 1, 2, H, W].

        Both are brought to image size; the foreground's score is the lesser of the ratio and of
        the gate's share above a half, the background's is zero.
        """
        queries = [self.query(query[index : index + 1]) for index in range(len(query))]
        places = range(0, len(states), shots)
        references = [self.references(states[place : place + shots]) for place in places]
        maps: list[Tensor] = []
        for found in self.decisions(queries, references):
            fore = _enlarged(found.gate.float(), query.size) - 0.5
            if found.density is not None:
                ratio = found.density.smoothed.unflatten(0, found.gate.shape)
                fore = torch.minimum(fore, _enlarged(ratio, query.size))
            maps.append(torch.stack((torch.zeros_like(fore), fore)))
        return torch.stack(maps)[:, None]

    def decisions(
        self, queries: Sequence[Query], references: Sequence[References]
    ) -> list[Decision]:
        """What is computed of several queries, each with its supports."""
        known = told(references)
        return [self._decision(*each) for each in zip(queries, references, known, strict=True)]

    def _decision(self, query: Query, references: References, known: Known) -> Decision:
        whitened, tokens, matrix = query.tokens, references.tokens, known.matrix
        if matrix is not None:
            whitened, tokens = matrix @ whitened, matrix @ tokens
        # Lengths count in the search for neighbours: nothing is normalised again for the gate.
        prototype = mean_prototype(tokens, references.seen)
        similarity = (F.normalize(prototype, dim=0)[None] @ F.normalize(whitened, dim=0))[0]
        candidates = agreeing(
            whitened, tokens, references.seen, alike(similarity),
            neighbours=NEIGHBOURS, least=AGREEING,
        )  # fmt: skip
        gate = candidates.unflatten(0, query.size)
        if matrix is None:
            return Decision(whitened, candidates, gate, None)
        radius = round(GATE_RADIUS * known.share)
        side = 2 * radius + 1
        wide = F.max_pool2d(gate[None, None].float(), side, stride=1, padding=radius)[0, 0] > 0
        # Fore- and background, each in order; that their numbers are known spares a wait.
        order = references.seen.flatten().logical_not().to(torch.uint8).argsort(stable=True)
        anchors = F.normalize(tokens.mT, dim=2).flatten(0, 1)
        fore, back = anchors[order].split(known.counts)
        return Decision(whitened, candidates, wide, self.density(query, whitened, fore, back))

    def density(self, query: Query, whitened: Tensor, fore: Tensor, back: Tensor) -> Density:
        """The smoothed log density ratio, every token of the supports being an anchor."""
        bandwidth, margin = best_bandwidth(fore, back)
        ratio = log_ratio(F.normalize(whitened.mT, dim=1), fore, back, bandwidth)
        return Density(
            bandwidth, margin, ratio, smoothed(ratio, query.unit, query.colours, query.size)
        )


def told(references: Sequence[References]) -> list[Known]:
    """What the host must know of the supports of several episodes; it waits for it once."""
    device, dtype = references[0].tokens.device, references[0].tokens.dtype
    parts = [products(each.tokens, each.seen).flatten() for each in references]
    # Each of these numbers is small enough for any floating-point number to hold it.
    numbers = [torch.cat((each.seen.sum(1), each.areas)).to(dtype) for each in references]
    shown = torch.cat((torch.stack(parts), torch.stack(numbers)), dim=1).detach().cpu()
    found: list[Known] = []
    for each, row in zip(references, shown, strict=True):
        views, channels, positions = each.tokens.shape
        product, seen, areas = row.split((len(parts[0]), views, len(each.areas)))
        fore = int(seen.long().sum())
        counts = (fore, views * positions - fore)
        matrix = whitening(product.view(views, -1, channels), counts)
        share = int(areas.long().sum()) / (len(areas) * each.pixels)
        if matrix is not None:
            matrix = onto(matrix.to(dtype), device)
        found.append(Known(counts, share, matrix))
    return found


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """[h, w] -> [H, W], bilinear with corners that are not aligned."""
    return F.interpolate(maps[None, None], size, mode="bilinear", align_corners=False)[0, 0]
