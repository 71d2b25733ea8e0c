"""Where a plug-in may act on a host: on a backbone stage, on image features, on the score map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .backbones.base import Backbone


class Place(StrEnum):
    """A place that a host offers and a plug-in acts on."""

    STAGE = "stage"
    FEATURE = "feature"
    SCORE = "score"
    HEAD = "head"
    ANCHORS = "anchors"


class Role(StrEnum):
    """What an image is in its episode; known in training only."""

    QUERY = "query"
    SUPPORT = "support"


class Plugin(nn.Module):
    """A module that a host carries.

    Attributes:
        place: where it acts.
        key: the name under which its parameters stand in the published state dict (`apm`);
            empty for a plug-in without parameters.
    """

    place: ClassVar[Place]
    key: ClassVar[str] = ""

    def fit(self, backbone: Backbone) -> None:
        """Told once which backbone it rides on, before any parameter is loaded.

        Raises:
            CompositionError: if the backbone lacks the stage that the plug-in needs.
        """


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


class FeaturePlugin(Plugin, ABC):
    """Acts on the features of one image, after the cacheable encoding: it may be adapted.

    A host calls `transform` on the maps of an image, whatever its role, and `gate` once a
    support's maps were masked (a query's maps gate themselves).
    """

    place = Place.FEATURE

    def transform(self, features: Tensor) -> Tensor:
        """What takes the place of `features` [N, C, h, w] before any mask is applied."""
        return features

    def gate(self, features: Tensor, seen: Tensor) -> Tensor:
        """`features` [N, C, h, w] weighted by what `seen` shows.

        Args:
            features: to be weighted.
            seen: the masked maps of a support, or a query's own, [N, C, h, w].
        """
        del seen
        return features

    @abstractmethod
    def reset(self, rng: torch.Generator) -> None:
        """Back to the initial parameters, drawn from `rng` where they are random."""


class ScorePlugin(Plugin, ABC):
    """Acts on the two-channel score map before the decision."""

    place = Place.SCORE

    @property
    @abstractmethod
    def stage_name(self) -> str:
        """The backbone stage whose output of the query it wants kept."""

    @abstractmethod
    def calibrate(self, logits: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
        """Corrected logits.

        Args:
            logits: [B, K or 1, 2, h, w], channel 0 background.
            low: [B, C, h', w'], the query's maps of `stage_name`.
            size: (height, width) of the images in pixels.
        """
