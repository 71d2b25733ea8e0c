"""What a host asks of a backbone: stages that describe themselves, walked one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

EditStage = Callable[[int, Tensor], Tensor]
"""(stage index from 0, output [N, C, h, w]) -> what the next stage shall see instead."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of blocks at one resolution and width.

    Attributes:
        name: as in the state dict (`layer3`) or the paper (`conv4`).
        channels: of its output and of each of its taps.
        stride: image pixels per map position.
        taps: how many block outputs it offers.
    """

    name: str
    channels: int
    stride: int
    taps: int


@dataclass(frozen=True, slots=True)
class StageMaps:
    """What one stage computed for N images.

    Attributes:
        stage: its description.
        taps: each block's sum of branch and shortcut BEFORE the closing activation [N, C, h, w];
            that is where HSNet and its successors read features.
        output: after the activation (and pooling), what the next stage sees [N, C, h, w].
    """

    stage: Stage
    taps: Sequence[Tensor]
    output: Tensor


class Backbone(nn.Module, ABC):
    """A feature extractor in stages; nobody outside knows its channel numbers.

    Attributes:
        stages: shallow to deep, those that were built.
        pyramid: names of the stages at strides 8, 16 and 32 that hypercorrelation hosts read;
            empty for a transformer, which has one stride.
        semantic: name of the stage whose last tap prototype hosts read.
        unused_keys: prefixes of entries in published files that were not built (`fc.`).
        elastic: entries that a file may hold in another shape (a position embedding's grid).
    """

    stages: tuple[Stage, ...]
    pyramid: tuple[str, ...]
    semantic: str
    unused_keys: tuple[str, ...] = ()
    elastic: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """Computes stage after stage of `images` [N, 3, H, W]; stop when you have enough.

        Args:
            images: ImageNet-normalised.
            edit: if given, its result replaces each stage's output before the next stage.
        """

    @abstractmethod
    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The modules of stage `index` (from 0)."""

    def stage_parameters(self, index: int) -> Sequence[nn.Parameter]:
        """The parameters of stage `index` (from 0), for freezing; each belongs to one stage."""
        return [p for module in self.stage_modules(index) for p in module.parameters()]

    def freeze(self, count: int) -> None:
        """Takes the first `count` stages out of training."""
        for index in range(min(count, len(self.stages))):
            for parameter in self.stage_parameters(index):
                parameter.requires_grad = False

    def forward(self, images: Tensor) -> list[Tensor]:
        """The outputs of all stages."""
        return [maps.output for maps in self.walk(images)]

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        Raises:
            CompositionError: if it does not exist or was not built.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise CompositionError(
            f"{type(self).__name__} has no stage '{name}' here; "
            f"it has {', '.join(stage.name for stage in self.stages)}"
        )

    def numbered(self, number: int) -> Stage:
        """Stage `number`, counted from 1 as the LoEC paper counts (1 is the stem).

        Raises:
            CompositionError: if there are not that many.
        """
        if not 1 <= number <= len(self.stages):
            raise CompositionError(
                f"{type(self).__name__} has stages 1 to {len(self.stages)} here, not {number}"
            )
        return self.stages[number - 1]
