"""HSNet: Hypercorrelation Squeeze for Few-Shot Segmentation (Min et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone, Stage
from ..blocks.conv4d import CenterPivotConv4d
from ..blocks.correlation import hypercorrelation, self_correlation
from ..blocks.hpn import HPNLearner
from ..blocks.prototypes import resized_masks
from ..core.contract import EpisodeBatch, LossTerm, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Place, Plugin
from ..fast.hsnet import replayed, sparse_volumes
from ..fast.sparse_pyramid import SparsePyramid, Volume
from ..fast.spots import SpottedSupport, spotted


class HSNet(Method):
    """Correlates every query tap with every masked support tap; a 4D pyramid decides.

    K shots are K independent 1-shot maps that vote. The backbone is frozen.

    Args:
        backbone: any with stages at strides 8, 16 and 32.
        plugins: what it carries.
        widths: `16-64-128`, channels of the pyramid's blocks.

    State-dict keys: `backbone.*`, `hpn_learner.*` (HSNet `model/hsnet.py`).
    """

    offers = frozenset({Place.FEATURE, Place.SCORE, Place.HEAD})
    shots_vote = True
    unused_keys = ("backbone.fc.", "backbone.classifier.", "backbone.features.18.")

    def __init__(
        self, backbone: Backbone, plugins: Sequence[Plugin] = (), *, widths: str = "16-64-128"
    ):
        super().__init__(backbone, plugins)
        self.stages = backbone.pyramid
        taps = [backbone.stage(name).taps for name in reversed(self.stages)]
        self.hpn_learner = HPNLearner(taps, _three_widths(widths))
        self.sparse: SparsePyramid | None = None
        self.skips_zeros = False

    def features(self, images: Tensor) -> FeatureBatch:
        """Every tap of the three stages."""
        return self.walked(images, taps=self.stages)

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """What of the taps lies within the mask: `spots` in the sparse form, or `masked`."""
        if self.sparse is not None:
            return [self.spots(support[i : i + 1], masks[i : i + 1]) for i in range(len(support))]
        rows = self.masked(support, masks)
        return [rows[i : i + 1] for i in range(len(rows))]

    def masked(self, support: FeatureBatch, masks: Tensor) -> FeatureBatch:
        """The taps with everything outside the mask set to zero (`model/hsnet.py` mask_feature)."""
        masked = {
            f"{stage}.{i}": tap * resized_masks(masks, tap)
            for stage in self.stages
            for i, tap in enumerate(support.group(stage))
        }
        return FeatureBatch(support.size, masked)

    def correlation(self, stage: str, query: FeatureBatch, support: FeatureBatch) -> Tensor:
        """One stage's hypercorrelation [B, taps, hq, wq, hs, ws], features with states (eq. 1)."""
        return hypercorrelation(query.group(stage), support.group(stage))

    def correlate(self, query: FeatureBatch, support: FeatureBatch) -> list[Tensor]:
        """Coarse, middle, fine hypercorrelation [B, taps, hq, wq, hs, ws]."""
        return [self.correlation(stage, query, support) for stage in reversed(self.stages)]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per shot, [B, K, 2, h, w] (`model/learner.py`)."""
        if self.sparse is not None:
            return self._sparse_score(self.sparse, query, cast("Sequence[SpottedSupport]", states))
        supports = cast("Sequence[FeatureBatch]", states)
        maps = [
            self.hpn_learner(self.correlate(query, FeatureBatch.cat(supports[shot::shots])))
            for shot in range(shots)
        ]
        return torch.stack(maps, dim=1)

    def adaptable(self, backbone: Backbone) -> Stage:
        """The coarsest stage, ResNet's layer4 (APM `example_for_hsnet.py`)."""
        return backbone.stage(backbone.pyramid[-1])

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Mean pixel cross entropy over all shots (`compute_objective`); 255 is ignored."""
        with torch.no_grad():
            query = self.features(batch.query_images)
            support = self.features(batch.support_images.flatten(0, 1))
            states = self.support_states(support, (batch.support_masks == 1).flatten(0, 1))
        shots = batch.support_masks.shape[1]
        maps = self.score(query, states, shots=shots).flatten(0, 1)
        full = F.interpolate(maps, query.size, mode="bilinear", align_corners=True)
        truth = batch.query_masks.repeat_interleave(shots, 0).long()
        return {"query": LossTerm(1.0, F.cross_entropy(full, truth, ignore_index=255))}

    # -- fast forms: what no paper describes ---------------------------------------------------

    def optimized_for(self, device: str) -> HSNet:
        """On a CPU without the zeros that the masks leave; what learns needs the dense form.

        On an accelerator the dense form, its convolutions without copies of the volumes.
        """
        copied = super().optimized_for(device)
        assert isinstance(copied, HSNet)
        copied.skips_zeros = device == "cpu"
        for module in copied.hpn_learner.modules():
            if isinstance(module, CenterPivotConv4d):
                module.flat = not copied.skips_zeros
        if copied.skips_zeros and self.adaptation == "none":
            copied.sparse = SparsePyramid(copied.hpn_learner)
        return copied

    def spots(self, support: FeatureBatch, mask: Tensor) -> SpottedSupport:
        """What one support amounts to in the sparse form, as far as there are features of it.

        Its mask is [1, H, W].
        """
        groups = {stage: support.group(stage) for stage in self.stages}
        return SpottedSupport({s: spotted(taps, mask) for s, taps in groups.items() if taps})

    def volumes(
        self, stage: str, query: FeatureBatch, supports: Sequence[SpottedSupport]
    ) -> Iterable[Volume]:
        """One stage's hypercorrelation per support of one episode, without its zeros; N = 1."""
        return sparse_volumes(query.group(stage), [support.stages[stage] for support in supports])

    def _sparse_score(
        self, pyramid: SparsePyramid, query: FeatureBatch, supports: Sequence[SpottedSupport]
    ) -> Tensor:
        stages = [self.volumes(stage, query, supports) for stage in reversed(self.stages)]
        return torch.cat([pyramid(parts) for parts in zip(*stages, strict=True)])[None]

    def correlation_with_itself(self, stage: str, support: FeatureBatch, masks: Tensor) -> Tensor:
        """`correlation` of a support's features with their own masked state; masks [N, H, W]."""
        return self_correlation(support.group(stage), masks)

    def self_prediction(self, support: FeatureBatch, masks: Tensor) -> Callable[[], Tensor]:
        """As in `Method`; what learning leaves as it is, is computed once."""
        return self.replay(support, support, masks)

    def learning_stages(self) -> set[str]:
        """Stages whose correlation depends on a parameter that asks for a gradient."""
        own = [p for plugin in self.feature_plugins for p in plugin.parameters()]
        learns = any(parameter.requires_grad for parameter in own)
        return {self.adaptable(self.backbone).name} if learns else set()

    def replay(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Callable[[], Tensor]:
        """A function that matches one query with one support while something learns.

        Args:
            query: features of the query, N = 1; the support's own in a self-prediction.
            support: features of the support, N = 1.
            masks: [1, H, W] of 0 and 1.

        Returns:
            A function that gives logits [1, 1, 2, h, w].
        """
        stages = [*reversed(self.stages)]
        learning = self.learning_stages()
        fixed = set(stages) - learning
        with torch.no_grad():
            asked = self.apply_feature_plugins(_only(query, fixed))
            shown = self.apply_feature_plugins(_only(support, fixed), masks)

        def sparse(stage: str) -> Iterable[Volume]:
            return self.volumes(stage, asked, [self.spots(_only(shown, {stage}), masks)])

        height, width = query.group(stages[0])[0].shape[-2:]
        return replayed(
            self.hpn_learner,
            stages,
            {stage: self._correlating(stage, query, support, masks) for stage in learning},
            lambda stage: self._correlated(stage, asked, shown, masks),
            sparse=sparse if self.skips_zeros else None,
            size=(height, width),
        )

    def _correlating(
        self, stage: str, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Callable[[], Tensor]:
        """What gives one stage's correlation from unmasked features, again and again."""
        show = self.transforming(_only(support, {stage}))
        ask = show if query is support else self.transforming(_only(query, {stage}))

        def correlate() -> Tensor:
            shown = show()
            if ask is show and not self.gating_plugins:
                return self.correlation_with_itself(stage, shown, masks)
            asked = shown if ask is show else ask()
            return self._correlated(
                stage, self.apply_gates(asked), self.apply_gates(shown, masks), masks
            )

        return correlate

    def _correlated(
        self, stage: str, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Tensor:
        """One stage's correlation of features, the support's not yet masked."""
        states = cast("Sequence[FeatureBatch]", self.support_states(_only(support, {stage}), masks))
        return self.correlation(stage, query, FeatureBatch.cat(states))


def _only(rows: FeatureBatch, stages: Collection[str]) -> FeatureBatch:
    own = {n: t for n, t in rows.tensors.items() if n.rpartition(".")[0] in stages}
    return FeatureBatch(rows.size, own)


def _three_widths(text: str) -> tuple[int, int, int]:
    try:
        first, second, third = (int(width) for width in text.split("-"))
    except ValueError:
        first = second = third = 0
    if min(first, second, third) < 1 or any(width % 4 for width in (first, second, third)):
        raise CompositionError(
            f"option 'widths' takes three multiples of 4 such as 16-64-128, not '{text}'"
        )
    return first, second, third
