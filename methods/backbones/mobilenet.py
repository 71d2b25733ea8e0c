"""MobileNetV2, torchvision's state-dict keys (`features.N.*`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor, nn

from .base import Backbone, EditStage, Stage, StageMaps

# (expansion, channels, blocks, stride) of each group (Sandler et al., CVPR 2018, table 2)
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM = 32
_PUBLISHED_LAYERS = 19


class InvertedResidual(nn.Module):
    """Expand, filter per channel, project; the projection is linear, so the output is the tap."""

    def __init__(self, inside: int, out: int, *, stride: int, expansion: int, dilation: int):
        super().__init__()
        hidden = inside * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_norm(inside, hidden, 1))
        layers += [
            _conv_norm(hidden, hidden, 3, stride=stride, groups=hidden, dilation=dilation),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and inside == out

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w']."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(Backbone):
    """Stages `stem`, `c16`, `c24`, `c32`, `c64`, `c96`, `c160`, `c320`, named by their width.

    The 1280-channel head convolution is not built: no few-shot host reads it.

    Args:
        until: the deepest stage to build.
        output_stride: 32, or 16 or 8 with dilation in the place of stride.
    """

    pyramid = ("c32", "c64", "c160")
    semantic = "c96"

    def __init__(self, *, until: str = "c320", output_stride: Literal[8, 16, 32] = 32):
        super().__init__()
        layers: list[nn.Module] = [_conv_norm(3, _STEM, 3, stride=2)]
        stages = [Stage("stem", _STEM, 2, 0)]
        self._groups = [range(1)]
        inside, stride, dilation = _STEM, 2, 1
        for expansion, channels, blocks, step in _GROUPS:
            if stages[-1].name == until:
                break
            begin = len(layers)
            first_dilation = dilation
            if stride * step > output_stride:
                dilation *= step
                step = 1
            stride *= step
            for block in range(blocks):
                layers.append(
                    InvertedResidual(
                        inside,
                        channels,
                        stride=step if block == 0 else 1,
                        expansion=expansion,
                        dilation=first_dilation if block == 0 else dilation,
                    )
                )
                inside = channels
            self._groups.append(range(begin, len(layers)))
            stages.append(Stage(f"c{channels}", channels, stride, blocks))
        self.features = nn.Sequential(*layers)
        self.stages = tuple(stages)
        unbuilt = range(len(layers), _PUBLISHED_LAYERS)
        self.unused_keys = ("classifier.", *(f"features.{number}." for number in unbuilt))

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The layers of one stage."""
        group = self._groups[index] if index < len(self._groups) else ()
        return [self.features[position] for position in group]

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`."""
        x = self.sized(images)
        for index, (stage, group) in enumerate(zip(self.stages, self._groups, strict=True)):
            taps: list[Tensor] = []
            for position in group:
                x = self.features[position](x)
                taps.append(x)
            if edit is not None:
                x = edit(index, x)
            yield StageMaps(stage, taps if stage.taps else [], x)


def _conv_norm(
    inside: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Sequential:
    padding = (kernel - 1) // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(inside, out, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(),
    )


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> MobileNetV2:
    """MobileNetV2; `until` may be `semantic` or `pyramid`."""
    del name
    deepest = {"semantic": MobileNetV2.semantic, "pyramid": MobileNetV2.pyramid[-1]}
    return MobileNetV2(until=deepest.get(until, until), output_stride=output_stride)
