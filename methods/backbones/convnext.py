"""ConvNeXts with timm's state-dict keys (Liu et al., "A ConvNet for the 2020s", CVPR 2022).

* `convnext-tiny`: 27.8 M parameters, 28.6 M with the classifier, which is not built.
* `convnext-mini`: narrow and shallow, for the mini suite.

`output_stride=8` puts dilation in the place of stride by the rule of the ResNets: what shrinks the
map keeps the previous dilation, the depthwise convolutions after it double it (timm
`models/convnext.py`). timm's head, with the normalisation before the classifier, is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone, EditStage, Stage, StageMaps
from .key_mapping import publish_as

NORM_EPS = 1e-6
EXPANSION = 4
KERNEL = 7
PATCH = 4


@dataclass(frozen=True, slots=True)
class ConvNeXtPlan:
    """What distinguishes one ConvNeXt from another."""

    depths: tuple[int, int, int, int]  # blocks of `stages.0` to `stages.3`
    widths: tuple[int, int, int, int]  # channels of `stages.0` to `stages.3`
    layer_scale: float = 1e-6  # what `gamma` begins with; a short training makes little of 1e-6


PLANS = {
    "convnext-tiny": ConvNeXtPlan((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext-mini": ConvNeXtPlan((1, 1, 3, 1), (16, 32, 48, 64), layer_scale=0.1),
}


class ChannelLayerNorm(nn.LayerNorm):
    """Normalises each position of a map over its channels."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Downsampling(nn.Sequential):
    """Normalisation `0`, 2x2 convolution `1`: strided, or dilated and padded to keep the size."""

    def __init__(self, inside: int, out: int, dilation: int | None):
        stride, spread = (2, 1) if dilation is None else (1, dilation)
        super().__init__(
            ChannelLayerNorm(inside),
            nn.Conv2d(inside, out, 2, stride=stride, dilation=spread),
        )
        self.padding = 0 if dilation is None else dilation

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C', h/2, w/2], or the same size if dilated."""
        # An even kernel cannot be centred; timm pads what is left over right and below.
        before, after = self.padding // 2, self.padding - self.padding // 2
        return self[1](F.pad(self[0](input), (before, after, before, after)))


class MLP(nn.Module):
    """Two linear maps over channels with an exact GELU between them."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.fc2(F.gelu(self.fc1(x)))


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, normalisation, MLP, each channel scaled by `gamma`, added to what it saw."""

    def __init__(self, width: int, *, dilation: int, layer_scale: float):
        super().__init__()
        self.conv_dw = nn.Conv2d(
            width, width, KERNEL, padding=KERNEL // 2 * dilation, dilation=dilation, groups=width
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width)
        self.gamma = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        branch = self.conv_dw(x).permute(0, 2, 3, 1)
        branch = self.gamma * self.mlp(self.norm(branch))
        return x + branch.permute(0, 3, 1, 2)


class ConvNeXtStage(nn.Module):
    """`downsample`, which the first stage does without, and `blocks`."""

    def __init__(self, downsample: Downsampling | None, blocks: Sequence[ConvNeXtBlock]):
        super().__init__()
        self.downsample = nn.Identity() if downsample is None else downsample
        self.blocks = nn.Sequential(*blocks)

    def taps(self, x: Tensor) -> list[Tensor]:
        """What each block makes of [N, C, h, w]."""
        x = self.downsample(x)
        taps: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            taps.append(x)
        return taps


class ConvNeXt(Backbone):
    """Stages `stem`, `stages.0`, ... up to `until`; no activation closes a block.

    Args:
        plan: which network.
        until: the deepest stage to build.
        output_stride: 32 as trained for ImageNet; 16 or 8 put dilation in the place of stride.

    State-dict keys: `stem.{0,1}`, `stages.{i}.downsample.{0,1}`,
    `stages.{i}.blocks.{j}.{conv_dw,norm,mlp.fc1,mlp.fc2,gamma}` (timm).
    """

    pyramid = ("stages.1", "stages.2", "stages.3")
    semantic = "stages.2"

    def __init__(
        self,
        plan: ConvNeXtPlan,
        *,
        until: str = "stages.3",
        output_stride: Literal[8, 16, 32] = 32,
    ):
        super().__init__()
        inside = plan.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, inside, PATCH, stride=PATCH), ChannelLayerNorm(inside)
        )
        self.levels = nn.ModuleList()  # `stages` are descriptions here, modules in published keys
        publish_as(self, "levels.", "stages.")
        stages = [Stage("stem", inside, PATCH, 0)]
        stride, dilation = PATCH, 1
        for number, (depth, width) in enumerate(zip(plan.depths, plan.widths, strict=True)):
            if stages[-1].name == until:
                break
            downsample = None
            if number > 0 and stride * 2 > output_stride:
                downsample = Downsampling(inside, width, dilation)
                dilation *= 2
            elif number > 0:
                downsample = Downsampling(inside, width, None)
                stride *= 2
            blocks = [
                ConvNeXtBlock(width, dilation=dilation, layer_scale=plan.layer_scale)
                for _ in range(depth)
            ]
            self.levels.append(ConvNeXtStage(downsample, blocks))
            stages.append(Stage(f"stages.{number}", width, stride, depth))
            inside = width
        self.stages = tuple(stages)
        unbuilt = range(len(self.levels), len(plan.depths))
        self.unused_keys = ("head.", *(f"stages.{number}." for number in unbuilt))
        self._initialise()

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`; a stage's output is its last tap."""
        x = self.stem(self.sized(images))
        for index, stage in enumerate(self.stages):
            taps: list[Tensor] = []
            if index > 0:
                taps = cast("ConvNeXtStage", self.levels[index - 1]).taps(x)
                x = taps[-1]
            if edit is not None:
                x = edit(index, x)
            yield StageMaps(stage, taps, x)

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The stem, or one stage with what leads to it."""
        return [self.levels[index - 1] if index else self.stem]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> ConvNeXt:
    """The ConvNeXt of that card name; `until` may be `semantic` or `pyramid`."""
    deepest = {"semantic": ConvNeXt.semantic, "pyramid": ConvNeXt.pyramid[-1]}.get(until, until)
    return ConvNeXt(PLANS[name], until=deepest, output_stride=output_stride)
