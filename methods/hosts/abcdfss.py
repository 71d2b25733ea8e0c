"""ABCDFSS: Adapt Before Comparison, a new perspective on cross-domain few-shot segmentation.

Herzog, CVPR 2024. Nothing is trained on source data. For every episode and every tap of the
backbone a small adapter is fitted, from the supports and the unlabelled query, to make features
agree with those of sheared copies; then query and supports are compared behind the adapters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import UserError

from ..backbones.base import Backbone
from ..blocks.otsu import FLAT, otsu
from ..blocks.shear import Shear, drawn_shears, sheared
from ..blocks.shear_fit import WIDTH, Adapter, Views, fit
from ..core.adaptation import copy_of, ordinary
from ..core.contract import Adaptation, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import AdaptationData, Method
from ..core.plugin_api import Plugin

IMAGE, MASK = "image", "mask"
COPIES = 2
"""Sheared copies of each image."""
MOST_DEGREES = 20
"""Of a shear along each axis."""
DARK_SHARE = 0.05
"""Of a score map's range, from below: what lies there does not count in Otsu's threshold."""


class ABCDFSS(Method):
    """Adapters fitted to the episode, then attention from the query to all supports' positions.

    Options: see `abcdfss.yaml`.

    State-dict keys: `adapters.TAP.{conv,linear,bn}.{weight,bias}`, taps from fine to coarse.
    """

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        steps: int = 25,
        stages: str = "all",
    ):
        super().__init__(backbone, plugins)
        self.steps = steps
        built = [stage for stage in backbone.stages if stage.name in backbone.pyramid]
        read = built[1:] if stages == "coarse" else built
        self.stages = [stage.name for stage in read]
        self.taps = [f"{stage.name}.{i}" for stage in read for i in range(stage.taps)]
        self.adapters = nn.ModuleList(
            Adapter(stage.channels) for stage in read for _ in range(stage.taps)
        )
        self._draw(torch.Generator().manual_seed(0))

    @property
    def adaptation(self) -> Adaptation:
        """From the supports and the unlabelled query, unless there are no steps."""
        return "transductive" if self.steps else "none"

    @property
    def keys_without_training(self) -> tuple[str, ...]:
        """The adapters: each episode draws its own."""
        return ("adapters.",)

    # -- encode --------------------------------------------------------------------------------

    def features(self, images: Tensor) -> FeatureBatch:
        """Every tap; and the image, of which adaptation encodes sheared copies.

        Raises:
            UserError: for images so small that a map has a single position, without variance.
        """
        rows = self.walked(images, taps=self.stages)
        for tap in self.taps:
            if rows.tensors[tap][0, 0].numel() < 2:
                height, width = rows.size
                raise UserError(
                    f"ABCDFSS normalises over the positions of a map, and {tap} has a single one "
                    f"in images of {height}x{width} pixels",
                    hint="give it larger images",
                )
        return FeatureBatch(rows.size, {**rows.tensors, IMAGE: images})

    # -- adapt (section 3) ---------------------------------------------------------------------

    def adapted_to(self, given: AdaptationData) -> Self:
        """A copy whose adapters were drawn from `rng` and fitted to this episode.

        Raises:
            ValueError: without a generator or without the query.
        """
        support, masks, rng, query = given
        if rng is None or query is None:
            raise ValueError("ABCDFSS draws, and looks at the query: hand over both")
        ready = copy_of(self)
        shears = drawn_shears(COPIES, MOST_DEGREES, rng)
        ready._draw(rng)
        ready.fit(support, masks, query, shears)
        return ready

    def fit(
        self, support: FeatureBatch, masks: Tensor, query: FeatureBatch, shears: Sequence[Shear]
    ) -> list[Tensor]:
        """Fits this network's adapters from their present values, by A copies of each image.

        Masks are [K, H, W] of 0 and 1; for each tap the terms of the loss before each step, [steps,
        5].
        """
        with torch.inference_mode(mode=False):
            return self.fitted(ordinary(support), masks.clone(), ordinary(query), shears)

    def fitted(
        self, support: FeatureBatch, masks: Tensor, query: FeatureBatch, shears: Sequence[Shear]
    ) -> list[Tensor]:
        """As `fit`, of tensors that may take part in a graph: one tap after the other."""
        views = self.views(support, masks, query, shears)
        return [
            fit(self.adapter(tap), seen, self.steps)
            for tap, seen in zip(self.taps, views, strict=True)
        ]

    @torch.no_grad()
    def views(
        self, support: FeatureBatch, masks: Tensor, query: FeatureBatch, shears: Sequence[Shear]
    ) -> Iterator[Views]:
        """What each tap's adapter is fitted to; arguments as in `fit`."""
        query_seen = self.encode(copies(query.tensors[IMAGE], shears))
        support_seen = self.encode(copies(support.tensors[IMAGE], shears))
        moved = copies(masks.to(support_seen.tensors[IMAGE].dtype), shears)
        for tap in self.taps:
            yield Views(
                query=copies(query.tensors[tap], shears),
                query_seen=query_seen.tensors[tap],
                support=copies(support.tensors[tap], shears),
                support_seen=support_seen.tensors[tap],
                masks=on_grid(moved, support.tensors[tap]),
            )

    def adapter(self, tap: str) -> Adapter:
        """That of a tap."""
        return cast("Adapter", self.adapters[self.taps.index(tap)])

    # -- match (section 3.3) -------------------------------------------------------------------

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Every tap of a support with its mask: the adapters normalise all K together."""
        taps = {tap: support.tensors[tap] for tap in self.taps}
        rows = FeatureBatch(support.size, {**taps, MASK: masks})
        return [rows[i : i + 1] for i in range(len(rows))]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """The map that is decided on, against its threshold: [B, 1, 2, H, W] at image size."""
        supports = cast("Sequence[FeatureBatch]", states)
        found: list[Tensor] = []
        for i in range(len(query)):
            own = FeatureBatch.cat(supports[i * shots : (i + 1) * shots])
            maps = self.tap_maps(query[i : i + 1], own)
            shown = resized(maps.mean(0)[None], query.size)[0]
            found.append(torch.stack((threshold(shown).expand_as(shown), shown)))
        return torch.stack(found)[:, None]

    def tap_maps(self, query: FeatureBatch, support: FeatureBatch) -> Tensor:
        """What each tap says of one query, in [0, 1]: [taps, h, w] of the finest tap's size."""
        finest = query.tensors[self.taps[0]]
        size = (finest.shape[-2], finest.shape[-1])
        maps: list[Tensor] = []
        for tap in self.taps:
            asked, shown = query.tensors[tap], support.tensors[tap]
            adapter = self.adapter(tap)
            masks = on_grid(support.tensors[MASK].to(shown.dtype), shown)
            maps.append(resized(attended(adapter(asked), adapter(shown), masks), size))
        return torch.cat(maps)

    def _draw(self, rng: torch.Generator) -> None:
        for adapter in self.adapters:
            cast("Adapter", adapter).draw(rng)


def copies(maps: Tensor, shears: Sequence[Shear]) -> Tensor:
    """[N, ..., h, w] -> [N * A, ..., h, w], the A sheared copies of each map side by side."""
    return torch.stack([sheared(maps, shear) for shear in shears], 1).flatten(0, 1)


def attended(query: Tensor, support: Tensor, masks: Tensor) -> Tensor:
    """What share of each query position's attention falls on the masks [K, h, w], [1, h, w].

    One softmax chooses among the positions of all K supports [K, 64, h, w]; adapted features, the
    query's [1, 64, h, w] too, may have any length.
    """
    keys = support.flatten(2).transpose(0, 1).flatten(1)
    weights = (query[0].flatten(1).T @ keys / math.sqrt(WIDTH)).softmax(-1)
    return (weights @ masks.flatten()[:, None]).view(1, *query.shape[-2:])


def on_grid(masks: Tensor, maps: Tensor) -> Tensor:
    """Masks [N, H, W] at the size of `maps` [..., h, w], soft at the border: [N, h, w]."""
    return resized(masks, (maps.shape[-2], maps.shape[-1]))


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """[N, h, w] -> [N, *size], bilinear, corners not aligned."""
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def threshold(scores: Tensor) -> Tensor:
    """What a foreground score exceeds, a scalar: the larger of Otsu's threshold and the mean.

    A constant map has no foreground (ours; the published code divides by zero).
    """
    if bool(scores.max() - scores.min() < FLAT):
        return scores.max()
    return torch.maximum(otsu(scores, ignored_share=DARK_SHARE), scores.mean())
