"""What a host asks of a backbone: stages that describe themselves, walked one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

EditStage = Callable[[int, Tensor], Tensor]
"""(stage index from 0, output [N, C, h, w]) -> what the next stage shall see instead."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of blocks at one resolution and width."""

    name: str  # as in the state dict (`layer3`) or the paper (`conv4`)
    channels: int  # of its output and of each of its taps
    stride: int  # image pixels per map position
    taps: int  # how many block outputs it offers


@dataclass(frozen=True, slots=True)
class StageMaps:
    """What one stage computed for N images.

    Attributes:
        stage: its description.
        taps: each block's sum of branch and shortcut BEFORE the closing activation [N, C, h, w];
            that is where HSNet and its successors read features.
        output: after the activation (and pooling), what the next stage sees [N, C, h, w].
        tokens: all tokens [N, T, C] that the next block of a transformer sees; None elsewhere.
    """

    stage: Stage
    taps: Sequence[Tensor]
    output: Tensor
    tokens: Tensor | None = None


class Backbone(nn.Module, ABC):
    """A feature extractor in stages; nobody outside knows its channel numbers.

    Attributes:
        stages: shallow to deep, those that were built.
        pyramid: names of the stages at strides 8, 16 and 32 that hypercorrelation hosts read;
            empty for a transformer, which has one stride.
        semantic: name of the stage whose last tap prototype hosts read.
        unused_keys: prefixes of entries in published files that were not built (`fc.`).
        elastic: entries that a file may hold in another shape (a position embedding's grid).
        input_size: side in pixels to which images are brought before anything is computed; None
            takes them as they come. See `resize_to`.
    """

    stages: tuple[Stage, ...]
    pyramid: tuple[str, ...]
    semantic: str
    unused_keys: tuple[str, ...] = ()
    elastic: ClassVar[tuple[str, ...]] = ()
    input_size: int | None = None

    @abstractmethod
    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """Computes stage after stage of `images` [N, 3, H, W]; stop when you have enough.

        Args:
            images: ImageNet-normalised.
            edit: if given, its result replaces each stage's output before the next stage.
        """

    def resize_to(self, side: int) -> None:
        """Makes `walk` bring images to `side` x `side` pixels first.

        Raises:
            CompositionError: if the network does not take that size.
        """
        self.input_size = side

    def sized(self, images: Tensor) -> Tensor:
        """`images` [N, 3, H, W] at `input_size` (bilinear); what `walk` begins with."""
        side = self.input_size
        return images if side is None else resized(images, (side, side))

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

    def layer(self, name: str) -> tuple[Stage, str]:
        """The stage and the features that `name` means, under the name that `Host.walked` keeps.

        Args:
            name: a stage (`layer2`), of which the last tap is meant; one tap of it, from 0
                (`layer2.3`); of a transformer a block's number (`7`); empty for the semantic stage.

        Raises:
            CompositionError: if there is no such layer, or the stage offers no features.
        """
        known = {stage.name: stage for stage in self.stages}
        name = name or self.semantic
        name = f"blocks.{name}" if f"blocks.{name}" in known else name
        if name in known and known[name].taps:
            return known[name], name
        head, _, tap = name.rpartition(".")
        if head in known and tap.isdecimal() and int(tap) < known[head].taps:
            return known[head], f"{head}.{int(tap)}"
        readable = [stage for stage in self.stages if stage.taps]
        raise CompositionError(
            f"{type(self).__name__} has no layer '{name}' to read here",
            hint=f"choose a block from 0 to {len(readable) - 1}"
            if "blocks.0" in known
            else f"choose one of {', '.join(stage.name for stage in readable)}, or a tap of one, "
            f"such as {readable[0].name}.0",
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


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`images` [N, 3, H, W] bilinearly at `size`, without antialiasing; as they are if they fit."""
    if size == (images.shape[-2], images.shape[-1]):
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False)
