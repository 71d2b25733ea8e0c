"""VGG-16 without batch normalisation, torchvision's state-dict keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone, EditStage, Stage, StageMaps

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_PUBLISHED_LAYERS = 31


class VGG16(Backbone):
    """Stages `conv1` to `conv5` and `pool5`; taps are convolutions before their ReLU.

    HSNet reads conv4_1..3, conv5_1..3 and pool5, which it takes after ReLU and pooling
    (HSNet `model/base/feature.py`: features 17, 19, 21, 24, 26, 28, 30).
    """

    pyramid = ("conv4", "conv5", "pool5")
    semantic = "conv5"

    def __init__(self, *, until: str = "pool5"):
        super().__init__()
        layers: list[nn.Module] = []
        stages: list[Stage] = []
        inside = 3
        self._groups: list[range] = []
        for number, widths in enumerate(_WIDTHS, start=1):
            begin = len(layers)
            for width in widths:
                layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
                inside = width
            layers.append(nn.MaxPool2d(2))
            self._groups.append(range(begin, len(layers) - 1))
            stages.append(Stage(f"conv{number}", inside, 2 ** (number - 1), len(widths)))
            if until == f"conv{number}":
                break
        else:
            stages.append(Stage("pool5", inside, 32, 1))
        self.features = nn.Sequential(*layers)
        self.stages = tuple(stages)
        unbuilt = range(len(layers), _PUBLISHED_LAYERS)
        self.unused_keys = ("classifier.", *(f"features.{number}." for number in unbuilt))

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The layers of one stage."""
        group = self._groups[index] if index < len(self._groups) else ()
        return [self.features[position] for position in group]

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`; a stage's output is its last ReLU, pooled when the next begins."""
        x = self.sized(images)
        for index, stage in enumerate(self.stages):
            taps: list[Tensor] = []
            if index > 0:
                x = F.max_pool2d(x, 2)
            if stage.name == "pool5":
                taps.append(x)
            else:
                for position in self._groups[index]:
                    layer = self.features[position]
                    if isinstance(layer, nn.Conv2d):
                        x = layer(x)
                        taps.append(x)
                        x = F.relu(x)
            if edit is not None:
                x = edit(index, x)
            yield StageMaps(stage, taps, x)


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> VGG16:
    """VGG-16; it has no dilated form, so `output_stride` is left at what its stages have."""
    del name, output_stride
    deepest = {"semantic": VGG16.semantic, "pyramid": VGG16.pyramid[-1]}.get(until, until)
    return VGG16(until=deepest)
