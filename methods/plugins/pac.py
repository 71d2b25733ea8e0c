"""PAC, prior-aware calibration (HERA, CVPR 2026): residual logits correct the prediction.

Without PGR beside it, it has no attention to read and its other two residuals act alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone
from ..blocks.layer_choice import smoothed_iou
from ..blocks.residual_logits import calibrated
from ..blocks.voting import upsampled
from ..core.contract import Adaptation
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, ScorePlugin, Trial
from .pgr import GRAPH

WINNING_VOTES = 2
"""Supports whose IoU it must not lower, of two or more; of a single one, that one."""


class PAC(ScorePlugin):
    """Corrects the scores, at image size, by likeness to what they take for either class.

    Options: see `pac.yaml`.
    """

    place = Place.MAPS
    wants_image = True
    shows_rounding = True

    def __init__(self, *, auto: bool = False):
        super().__init__()
        self.auto = auto
        self.acts = True
        self._matched = ""

    @property
    def adaptation(self) -> Adaptation:
        """With `auto` it learns from the episode's support whether to act."""
        return "episode" if self.auto else "none"

    def fit(self, backbone: Backbone) -> None:
        """Notes the name of the map that is matched."""
        self._matched = backbone.semantic

    @property
    def stage_name(self) -> str:
        """None is kept for it: it reads what the host matches."""
        return ""

    @property
    def kept_as(self) -> str:
        """The map that is matched."""
        return self._matched

    def correct(self, logits: Tensor, rows: FeatureBatch) -> Tensor:
        """Logits [B, 1, 2, H, W] of [B, 1, 2, h, w] and the features of B queries."""
        return self.corrected(logits, rows) if self.acts else logits

    def corrected(self, logits: Tensor, rows: FeatureBatch) -> Tensor:
        """As `correct`, whatever was chosen; each of several maps of an episode on its own."""
        tensors, shots = rows.tensors, logits.shape[1]
        read = [tensors[self._matched], tensors["image"]]
        if GRAPH in tensors:
            read.append(tensors[GRAPH])
        read = [each.repeat_interleave(shots, 0) for each in read]
        full = upsampled(logits, rows.size).flatten(0, 1)
        return calibrated(full, *read).unflatten(0, (-1, shots))

    def choose(
        self, trials: Sequence[Trial], decide: Callable[[Tensor, tuple[int, int]], Tensor]
    ) -> None:
        """Acts if as many supports as needed are predicted no worse with it."""
        kept = 0
        for trial in trials:
            assert trial.rows is not None
            truth = trial.truth[None]
            before, after = (
                smoothed_iou(decide(each, trial.rows.size), truth)
                for each in (trial.logits, self.corrected(trial.logits, trial.rows))
            )
            kept += int(after >= before)
        self.acts = kept >= min(WINNING_VOTES, len(trials))

    def calibrate(self, logits: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
        """Not from one map: see `correct`.

        Raises:
            CompositionError: always.
        """
        del logits, low, size
        raise CompositionError("pac reads features, image and attention: ask `correct`")
