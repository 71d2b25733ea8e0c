"""What a network that carries plug-ins computes of one episode: encode, match, decide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone, Stage
from ..backbones.key_mapping import publish_with_prefix
from ..blocks.layer_choice import mixed
from ..blocks.prototypes import resized_masks
from ..blocks.voting import foreground, upsampled, vote
from .contract import Precision, SupportState
from .feature_batch import FeatureBatch
from .plugin_api import (
    FeaturePlugin,
    LearningPlugin,
    MapPlugin,
    MixedTaps,
    Place,
    Plugin,
    Role,
    ScorePlugin,
    StagePlugin,
)


class Host(nn.Module, ABC):
    """A backbone, a head, and the plug-ins that act on them; `Method` adds training and adaptation.

    The three inference steps are `encode` (per image, cacheable), `match` (per episode) and
    `decide` (the method's own k-shot rule). `match` itself is `encode_support` (per support image
    and mask, cacheable too) and `score`. The result for one episode depends on nothing but that
    episode.

    Attributes:
        offers: the places at which plug-ins may act.
        backbone_prefix: what the published keys have in the place of our `backbone.`.
    """

    offers: ClassVar[frozenset[Place]] = frozenset()
    backbone_prefix: ClassVar[str] = "backbone."
    precision: Precision = "fp32"
    """Of the encoding; features are float32 in any case, and so is all that follows."""

    def __init__(self, backbone: Backbone | None, plugins: Sequence[Plugin] = ()):
        super().__init__()
        if backbone is not None:
            self.backbone = backbone
        self._plugins = (*plugins,)
        self.stage_plugins = [p for p in plugins if isinstance(p, StagePlugin)]
        self.feature_plugins = [p for p in plugins if isinstance(p, FeaturePlugin)]
        self.map_plugins = [p for p in plugins if isinstance(p, MapPlugin)]
        self.score_plugins = [p for p in plugins if isinstance(p, ScorePlugin)]
        self.learning_plugins = [p for p in plugins if isinstance(p, LearningPlugin) and p.steps]
        for plugin in plugins:
            if plugin.place not in self.offers:
                raise CompositionError(
                    f"{type(self).__name__} offers no {plugin.place} for "
                    f"{type(plugin).__name__} to act on"
                )
            if backbone is not None:
                plugin.fit(backbone)
                if isinstance(plugin, FeaturePlugin):
                    plugin.attach_to(self.adaptable(backbone))
            if plugin.key in dict(self.named_children()):
                raise CompositionError(f"only one plug-in can be the {plugin.key} of a method")
            if plugin.key:
                self.add_module(plugin.key, plugin)
        if backbone is not None:
            publish_with_prefix(self, self.backbone_prefix)

    @property
    def gating_plugins(self) -> list[FeaturePlugin]:
        """Those feature plug-ins that weigh channels by what a mask leaves."""
        return [plugin for plugin in self.feature_plugins if plugin.gates]

    # -- inference ---------------------------------------------------------------------------

    @abstractmethod
    def features(self, images: Tensor) -> FeatureBatch:
        """[N, 3, H, W] -> N rows, without knowledge of role or episode: what `encode` calls."""

    @abstractmethod
    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """N states of N support images with masks [N, H, W] of 0/1: what `encode_support` calls."""

    @abstractmethod
    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """Logits [B, K or 1, 2, h, w] from B queries and B*K states (an episode's K together)."""

    def adaptable(self, backbone: Backbone) -> Stage:
        """The stage whose features, named `STAGE` or `STAGE.i`, feature plug-ins act on."""
        return backbone.stage(backbone.semantic)

    def apply_feature_plugins(
        self, rows: FeatureBatch, masks: Tensor | None = None
    ) -> FeatureBatch:
        """`rows` with the feature plug-ins applied: a query's, or supports' with masks [N, H, W].

        First every plug-in transforms the maps, then each gates them by what the masks leave.
        """
        return self.apply_gates(self.apply_transforms(rows), masks)

    def apply_transforms(self, rows: FeatureBatch) -> FeatureBatch:
        """The transforms of the feature plug-ins, the same for a query and a support."""
        return self.transforming(rows)()

    def transforming(self, rows: FeatureBatch) -> Callable[[], FeatureBatch]:
        """A function that gives `apply_transforms(rows)` at the plug-ins' present parameters."""
        rows = self.with_chosen_maps(rows)
        names = self._adaptable_in(rows)
        if not names:
            return lambda: rows
        first, *others = self.feature_plugins
        begin = first.transforming(torch.cat([rows.tensors[name] for name in names]))

        def again() -> FeatureBatch:
            maps = begin()
            for plugin in others:
                maps = plugin.transform(maps)
            parts = zip(names, maps.split(len(rows)), strict=True)
            return FeatureBatch(rows.size, {**rows.tensors, **dict(parts)})

        return again

    def apply_gates(self, rows: FeatureBatch, masks: Tensor | None = None) -> FeatureBatch:
        """The gates of the feature plug-ins: a query's own, or supports' with masks [N, H, W]."""
        if not self.gating_plugins:
            return rows
        tensors = dict(rows.tensors)
        for name in self._adaptable_in(rows):
            maps = tensors[name]
            for plugin in self.gating_plugins:
                seen = maps if masks is None else maps * resized_masks(masks, maps)
                maps = plugin.gate(maps, seen)
            tensors[name] = maps
        return FeatureBatch(rows.size, tensors)

    def with_chosen_maps(self, rows: FeatureBatch) -> FeatureBatch:
        """`rows` with what the map plug-ins chose in the place of the adaptable stage's last tap.

        A single tap is read as it is. Of several, directions are mixed: unit features.
        """
        if not self.map_plugins:
            return rows
        stage = self.adaptable(self.backbone)
        read = MixedTaps((f"{stage.name}.{stage.taps - 1}",), (1.0,))
        for plugin in self.map_plugins:
            read = plugin.chosen or read
        last, found = read.names[-1], dict(rows.tensors)
        kept = f"tap:{last}"
        found["map"] = found[kept if kept in found else stage.name]
        for plugin in self.map_plugins:
            found |= plugin.refined(self.backbone, rows, last)
        maps = [*(found[f"tap:{name}"] for name in read.names[:-1]), found.pop("map")]
        if len(maps) > 1:
            maps = [F.normalize(each, dim=1) for each in maps]
        return FeatureBatch(rows.size, {**found, stage.name: mixed(maps, read.weights)})

    def _adaptable_in(self, rows: FeatureBatch) -> list[str]:
        if not self.feature_plugins:
            return []
        stage = self.adaptable(self.backbone).name
        return [name for name in rows.tensors if name == stage or name.startswith(f"{stage}.")]

    def encode(self, images: Tensor) -> FeatureBatch:
        """[N, 3, H, W] -> N rows of features, without knowledge of role or episode.

        On a CPU image by image: kernels for one image and for many round differently, and a
        result shall not depend on the batch it came in. There is nothing to gain there either.
        """
        reduced = self.precision == "bf16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
            if _one_by_one(images):
                rows = FeatureBatch.cat([self.features(image[None]) for image in images])
            else:
                rows = self.features(images)
        if self.precision == "fp16-features":
            return rows.rounded_to_half()
        return rows.float() if reduced else rows

    def encode_support(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """N states of N supports with masks [N, H, W] of 0 and 1, feature plug-ins applied."""
        if _one_by_one(masks):
            rows = range(len(support))
            pairs = [(support[i : i + 1], masks[i : i + 1]) for i in rows]
            return [
                s
                for one, mask in pairs
                for s in self.support_states(self.apply_feature_plugins(one, mask), mask)
            ]
        return self.support_states(self.apply_feature_plugins(support, masks), masks)

    def match(self, query: FeatureBatch, support: FeatureBatch, masks: Tensor) -> Tensor:
        """Logits [B, K or 1, 2, h, w], score plug-ins applied.

        Args:
            query: features of B queries.
            support: features of B*K supports, an episode's K side by side.
            masks: [B, K, H, W] of 0 and 1.
        """
        states = self.encode_support(support, masks.flatten(0, 1))
        return self.match_states(query, states, shots=masks.shape[1])

    def match_states(
        self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int
    ) -> Tensor:
        """As `match`, from states that `encode_support` gave."""
        if len(query) > 1 and _one_by_one(next(iter(query.tensors.values()))):
            parts = [
                self.match_states(
                    query[i : i + 1], states[i * shots : (i + 1) * shots], shots=shots
                )
                for i in range(len(query))
            ]
            return torch.cat(parts)
        query = self.apply_feature_plugins(query)
        logits = self.score(query, states, shots=shots)
        for plugin in self.score_plugins:
            logits = plugin.correct(logits, query)
        return logits

    def decide(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits [B, K or 1, 2, h, w] -> mask uint8 [B, H, W] by the method's k-shot rule.

        Several maps per episode are decided one by one and vote (HSNet's rule).
        """
        return vote(foreground(upsampled(logits, size)))

    def self_prediction(self, support: FeatureBatch, masks: Tensor) -> Callable[[], Tensor]:
        """`replay` of N supports as their own queries.

        Score plug-ins are left out: they correct predictions, nothing is learnt through them.
        """
        return self.replay(support, support, masks)

    def replay(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Callable[[], Tensor]:
        """A function that matches queries with a support each, at each step of an adaptation.

        Both have N rows and the masks are [N, H, W] of 0 and 1; what is called gives logits [N, 1,
        2, h, w] at the parameters' present values. `query` is `support` in a self-prediction.
        """
        show = self.transforming(support)
        ask = show if query is support else self.transforming(query)

        def predict() -> Tensor:
            shown = show()
            asked = shown if ask is show else ask()
            states = self.support_states(self.apply_gates(shown, masks), masks)
            return self.score(self.apply_gates(asked), states, shots=1)

        return predict

    def head(self) -> list[nn.Parameter]:
        """The host's own parameters beside the backbone's and the plug-ins'."""
        strangers = [p for plugin in self._plugins for p in plugin.parameters()]
        if hasattr(self, "backbone"):
            strangers += self.backbone.parameters()
        known = {id(parameter) for parameter in strangers}
        return [p for p in self.parameters() if id(p) not in known]

    # -- for hosts -----------------------------------------------------------------------------

    def walked(
        self,
        images: Tensor,
        *,
        taps: Sequence[str] = (),
        last_taps: Sequence[str] = (),
        role: Role | None = None,
        rng: torch.Generator | None = None,
    ) -> FeatureBatch:
        """Features of `images` [N, 3, H, W] from one walk through the backbone.

        Args:
            images: ImageNet-normalised.
            taps: stages of which every tap is kept, as `layer3.0`, `layer3.1`, ...
            last_taps: stages of which the last tap is kept, as `layer3`; or single taps, as
                `layer3.2`.
            role: query or support, in training only.
            rng: for stage plug-ins that draw.

        Stage outputs that score plug-ins want are kept beside them, and at inference what map
        plug-ins want.
        """
        wanted = {p.stage_name: p.kept_as for p in self.score_plugins if p.stage_name}
        known = {stage.name for stage in self.backbone.stages}
        single = {name: name.rpartition(".")[0] for name in last_taps if name not in known}
        choosing = self.map_plugins if role is None else []
        blocks = {name for plugin in choosing for name in plugin.taps}
        tokens = {name for plugin in choosing for name in plugin.tokens}
        stages = (single.get(name, name) for name in last_taps)
        remaining = {*taps, *stages, *wanted, *tokens, *(b.rpartition(".")[0] for b in blocks)}
        tensors: dict[str, Tensor] = {}
        if any(plugin.wants_image for plugin in self._plugins):
            tensors["image"] = images

        def edit(index: int, output: Tensor) -> Tensor:
            return self.edited(index, output, role=role, rng=rng)

        for maps in self.backbone.walk(images, edit):
            name = maps.stage.name
            if name in taps:
                tensors |= {f"{name}.{i}": tap for i, tap in enumerate(maps.taps)}
            if name in last_taps:
                tensors[name] = maps.taps[-1]
            for tap, stage in single.items():
                if stage == name:
                    tensors[tap] = maps.taps[int(tap.rpartition(".")[2])]
            if name in wanted:
                tensors[wanted[name]] = maps.output
            if name in tokens and maps.tokens is not None:
                tensors[f"tokens:{name}"] = maps.tokens
            for block in blocks & {f"{name}.{i}" for i in range(len(maps.taps))}:
                tensors[f"tap:{block}"] = maps.taps[int(block.rpartition(".")[2])]
            remaining.discard(name)
            if not remaining:
                break
        return FeatureBatch((images.shape[-2], images.shape[-1]), tensors)

    def edited(
        self, index: int, output: Tensor, *, role: Role | None, rng: torch.Generator | None
    ) -> Tensor:
        """What the stage plug-ins make of the output of stage `index`; see `StagePlugin.edit`."""
        for plugin in self.stage_plugins:
            output = plugin.edit(index, output, role=role, rng=rng)
        return output


def _one_by_one(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"
