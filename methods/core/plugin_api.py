"""Where a plug-in may act on a host: a backbone stage, image features, the score map, the head.

A stage plug-in acts in training, a score plug-in at test; feature, head and anchor plug-ins may
learn from each episode's support, and a plug-in for maps decides which of them a host matches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone, Stage
from .contract import Adaptation
from .feature_batch import FeatureBatch


class Place(StrEnum):
    """A place that a host offers and a plug-in acts on."""

    STAGE = "stage"
    FEATURE = "feature"
    SCORE = "score"
    HEAD = "head"
    ANCHORS = "anchors"
    MAPS = "maps"


class Role(StrEnum):
    """What an image is in its episode; known in training only."""

    QUERY = "query"
    SUPPORT = "support"


class PluginHost(Protocol):
    """What every network that carries plug-ins offers them; a plug-in that needs more checks."""

    def head(self) -> list[nn.Parameter]:
        """The network's own parameters beside the backbone's and the plug-ins'."""
        ...


class Plugin(nn.Module):
    """A module that a host carries.

    Attributes:
        place: where it acts.
        key: the name under which its parameters stand in the published state dict (`apm`);
            empty for a plug-in without parameters.
    """

    place: ClassVar[Place]
    key: ClassVar[str] = ""
    wants_image: ClassVar[bool] = False
    """Whether the image shall be kept beside its features, as `image`."""

    @property
    def adaptation(self) -> Adaptation:
        """Whether and from what it learns at test; see `contract.Adaptation`."""
        return "none"

    def fit(self, backbone: Backbone) -> None:
        """Told once which backbone it is used with, before any parameter is loaded.

        Raises:
            CompositionError: if the backbone lacks the stage that the plug-in needs.
        """

    @property
    def keeps_statistics(self) -> bool:
        """Whether training steps leave more behind in it than parameters and buffers."""
        return False

    def end_step(self) -> None:
        """Told that a training step is over."""

    def training_state(self) -> dict[str, Tensor]:
        """What an interrupted training needs besides parameters and buffers, by name."""
        return {}

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `training_state` gave."""


class StagePlugin(Plugin, ABC):
    """Acts between two backbone stages."""

    place = Place.STAGE

    @abstractmethod
    def edit(
        self, index: int, output: Tensor, *, role: Role | None, rng: torch.Generator | None
    ) -> Tensor:
        """What the next stage sees instead of `output` [N, C, h, w] of stage `index` (from 0).

        Args:
            index: of the stage.
            output: its maps.
            role: query or support while training; None at inference, where features are computed
                without knowledge of the episode.
            rng: the private generator of this training step; None at inference.
        """


class LearningPlugin(Plugin, ABC):
    """Learns at test, anew for each episode; `adaptation.py` runs the steps.

    Args:
        steps: of Adam; with 0 nothing is learnt and the method does not count as adapting.
        lr: learning rate of what this plug-in learns.
    """

    def __init__(self, *, steps: int, lr: float):
        super().__init__()
        self.steps = steps
        self.lr = lr

    @property
    def adaptation(self) -> Adaptation:
        """From the support's labels, unless there are no steps."""
        return "episode" if self.steps else "none"

    @abstractmethod
    def learned(self, host: PluginHost) -> Sequence[Tensor]:
        """What the steps change in `host`, this plug-in's own parameters or the host's."""


class FeaturePlugin(LearningPlugin):
    """Acts on the features of one image, after the cacheable encoding.

    The base method calls `transform` on the maps of an image, whatever its role, and `gate` with
    what a mask leaves of a support (a query's maps gate themselves). It learns to predict each
    support from itself.
    """

    place = Place.FEATURE

    @abstractmethod
    def attach_to(self, stage: Stage) -> None:
        """Told once whose maps it will see, before any parameter is loaded."""

    def transform(self, features: Tensor) -> Tensor:
        """What takes the place of `features` [N, C, h, w] before any mask is applied."""
        return features

    def transforming(self, features: Tensor) -> Callable[[], Tensor]:
        """What gives `transform(features)` at the present parameters, again and again.

        A plug-in whose work on `features` does not depend on its parameters does that part here.
        """
        return lambda: self.transform(features)

    @property
    def gates(self) -> bool:
        """Whether its `gate` is more than the maps as they are."""
        return type(self).gate is not FeaturePlugin.gate

    def gate(self, features: Tensor, seen: Tensor) -> Tensor:
        """`features` [N, C, h, w] with each channel weighted by what `seen` shows.

        That is the masked maps of a support, or a query's own, [N, C, h, w].
        """
        del seen
        return features

    def learned(self, host: PluginHost) -> Sequence[Tensor]:
        """Its own parameters."""
        del host
        return list(self.parameters())

    @abstractmethod
    def reset(self, features: Tensor, rng: torch.Generator | None) -> None:
        """Back to the initial parameters.

        Args:
            features: maps [N, C, h, w] of the episode, whose size the parameters may take.
            rng: the episode's generator.

        Raises:
            ValueError: if it draws and `rng` is None.
        """


class HeadPlugin(LearningPlugin):
    """Has the host's own head learn to predict each support from itself."""

    place = Place.HEAD


class AnchorPlugin(LearningPlugin):
    """Has a host's anchors learn by an objective of its own."""

    place = Place.ANCHORS

    @abstractmethod
    def objective(
        self, host: PluginHost, support: FeatureBatch, masks: Tensor, query: FeatureBatch
    ) -> Callable[[], Tensor] | None:
        """What gives the loss at the anchors' present values; None where there is none to take.

        `host` is the copy that learns, from one query and K supports with masks [K, H, W] of 0 and
        1.
        """


@dataclass(frozen=True, slots=True)
class MixedTaps:
    """Which block outputs a host matches in the place of its stage's last tap.

    Of one tap (`layer3.4`), read as it is, or of several, whose directions are mixed by weights.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]


class MapPlugin(Plugin):
    """Decides, from each episode's support, what a host matches in the place of its last tap.

    Attributes:
        taps: names of block outputs that shall be kept, `layer3.4` for `layer3`'s fifth.
        tokens: names of transformer stages behind which all tokens shall be kept.
    """

    place = Place.MAPS
    taps: Sequence[str] = ()
    tokens: Sequence[str] = ()

    @property
    def chosen(self) -> MixedTaps | None:
        """What was chosen; None for the host's own map."""
        return None

    def choose(self, host: PluginHost, support: FeatureBatch, masks: Tensor) -> None:
        """Told of an episode's K supports and masks [K, H, W], on the episode's copy."""

    def refined(self, backbone: Backbone, rows: FeatureBatch, tap: str) -> Mapping[str, Tensor]:
        """What takes the place of `tap`, the last that is read, as `map`, and what else is kept.

        `rows` have the taps and tokens that were asked for, as `tap:NAME` and `tokens:STAGE`.
        """
        del backbone, rows, tap
        return {}


@dataclass(frozen=True, slots=True)
class Trial:
    """One support as if it were the query, before any choice is made from it.

    Attributes:
        logits: its score map by the other supports, [1, K or 1, 2, h, w].
        low: its maps of the stage that a score plug-in reads, [1, C, h', w'].
        truth: its mask, [H, W] of 0 and 1.
        rows: all its features, feature plug-ins applied; a plug-in that reads `low` alone needs
            none.
    """

    logits: Tensor
    low: Tensor
    truth: Tensor
    rows: FeatureBatch | None = None


class ScorePlugin(Plugin, ABC):
    """Acts on the two-channel score map before the decision.

    One that `adaptation` calls adapting chooses its parameters anew for each episode, on the
    episode's copy of the method (`leave_one_out.py`).
    """

    place = Place.SCORE
    shows_rounding: ClassVar[bool] = False
    """Whether it enlarges differences of scores so much that their rounding counts."""

    @property
    @abstractmethod
    def stage_name(self) -> str:
        """The backbone stage whose output of the query it wants kept; empty for none."""

    @property
    def kept_as(self) -> str:
        """The name of that output among the features."""
        return f"output:{self.stage_name}"

    def choose(
        self, trials: Sequence[Trial], decide: Callable[[Tensor, tuple[int, int]], Tensor]
    ) -> None:
        """Sets what is chosen from one trial per support by the host's rule; here nothing is."""

    def correct(self, logits: Tensor, rows: FeatureBatch) -> Tensor:
        """`calibrate` for features of queries, `rows`, of which it may read more than one map."""
        return self.calibrate(logits, rows.tensors[self.kept_as], rows.size)

    @abstractmethod
    def calibrate(self, logits: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
        """Corrected logits.

        Args:
            logits: [B, K or 1, 2, h, w], channel 0 background.
            low: [B, C, h', w'], the query's maps of `stage_name`.
            size: (height, width) of the images in pixels.
        """
