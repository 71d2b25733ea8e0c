"""HSNet: Hypercorrelation Squeeze for Few-Shot Segmentation (Min et al., ICCV 2021).

In the order of the paper: encode (every tap of three stages), correlate (eq. 1), squeeze (the
centre-pivot pyramid of `blocks/hpn.py`), decide (the vote of `Host.decide`), loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone, Stage
from ..blocks.correlation import hypercorrelation
from ..blocks.hpn import HPNLearner
from ..blocks.prototypes import resized_masks
from ..core.contract import EpisodeBatch, LossTerm, PublishedWork, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Place, Plugin


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

    # -- encode --------------------------------------------------------------------------------

    def features(self, images: Tensor) -> FeatureBatch:
        """Every tap of the three stages."""
        return self.walked(images, taps=self.stages)

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """The taps within the mask, one row of `masked` each."""
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

    def adaptable(self, backbone: Backbone) -> Stage:
        """The coarsest stage, ResNet's layer4 (APM `example_for_hsnet.py`)."""
        return backbone.stage(backbone.pyramid[-1])

    # -- correlate -----------------------------------------------------------------------------

    def correlation(self, stage: str, query: FeatureBatch, support: FeatureBatch) -> Tensor:
        """One stage's hypercorrelation [B, taps, hq, wq, hs, ws], features with states (eq. 1)."""
        return hypercorrelation(*self.compared(stage, query, support))

    def compared(
        self, stage: str, query: FeatureBatch, support: FeatureBatch
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The maps [B, C, h, w] of features and of states that one stage's correlation compares."""
        return query.group(stage), support.group(stage)

    def correlate(self, query: FeatureBatch, support: FeatureBatch) -> list[Tensor]:
        """Coarse, middle, fine hypercorrelation [B, taps, hq, wq, hs, ws]."""
        return [self.correlation(stage, query, support) for stage in reversed(self.stages)]

    # -- squeeze -------------------------------------------------------------------------------

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per shot, [B, K, 2, h, w] (`model/learner.py`)."""
        supports = cast("Sequence[FeatureBatch]", states)
        maps = [
            self.hpn_learner(self.correlate(query, FeatureBatch.cat(supports[shot::shots])))
            for shot in range(shots)
        ]
        return torch.stack(maps, dim=1)

    # -- loss ----------------------------------------------------------------------------------

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

    def published_work(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> PublishedWork:
        """The whole network once per shot (`model/hsnet.py` predict_mask_nshot)."""
        del query, support, masks
        return PublishedWork(shot_by_shot=True)


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
