"""ResNets with torchvision's state-dict keys, and SSP's deep-stem variant with its published keys.

Several networks circulate as "ResNet-50" in few-shot segmentation. They differ in stem, stride and
pooling, so weights of one are not weights of another even where keys and shapes agree:

* `resnet50`: torchvision's, 7x7 stem, stride in the 3x3 convolution (HSNet, PATNet, APM).
* `resnet50-deep`: three 3x3 convolutions as stem, keys `layer0.*` (SSP, DR-Adapter, IFA; timm's
  `resnet50s` is the same network).
* `resnet50-caffe`: He's original, stride in the first 1x1 convolution, pooling without padding.
* `resnet-mini`: basic blocks and few channels, for the mini suite.

`output_stride=8` replaces stride by dilation as SSP does: the first block of a widened stage keeps
the previous dilation, the others double it (SSP `model/resnet.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone, EditStage, Stage, StageMaps


@dataclass(frozen=True, slots=True)
class ResNetPlan:
    """What distinguishes one ResNet from another."""

    blocks: tuple[int, int, int, int]  # blocks of layer1 to layer4
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)  # inner width of layer1 to layer4
    bottleneck: bool = True  # three convolutions and fourfold output, or two and the inner width
    stem: Literal["single", "deep", "small"] = "single"  # one 7x7, three 3x3, or one 3x3
    stem_channels: int = 64  # of the stem's output; a deep stem has half as many inside
    stride_in: Literal["1x1", "3x3"] = "3x3"  # the convolution of a block that carries the stride
    pool: Literal["padded", "ceil"] = "padded"  # 3x3, padded by 1, or as in Caffe (no padding)


PLANS = {
    "resnet50": ResNetPlan((3, 4, 6, 3)),
    "resnet101": ResNetPlan((3, 4, 23, 3)),
    "resnet50-deep": ResNetPlan((3, 4, 6, 3), stem="deep", stem_channels=128),
    "resnet101-deep": ResNetPlan((3, 4, 23, 3), stem="deep", stem_channels=128),
    "resnet50-caffe": ResNetPlan((3, 4, 6, 3), stride_in="1x1", pool="ceil"),
    "resnet-mini": ResNetPlan(
        (2, 2, 2, 2), (32, 48, 96, 128), bottleneck=False, stem="small", stem_channels=32
    ),
}


class Block(nn.Module):
    """A residual block; `before_activation` is the tap, the block's output is its ReLU."""

    expansion = 1

    def __init__(self, convolutions: Sequence[nn.Conv2d], shortcut: nn.Sequential | None):
        super().__init__()
        self.depth = len(convolutions)
        for number, convolution in enumerate(convolutions, start=1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.out_channels))
        self.downsample = shortcut

    def before_activation(self, x: Tensor) -> Tensor:
        """Branch plus shortcut of `x` [N, C, h, w]."""
        branch = x
        for number in range(1, self.depth + 1):
            branch = self.get_submodule(f"conv{number}")(branch)
            branch = self.get_submodule(f"bn{number}")(branch)
            if number < self.depth:
                branch = F.relu(branch)
        return branch + (x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        return F.relu(self.before_activation(x))


class ResNet(Backbone):
    """A residual network in stages `stem`, `layer1`, ... up to `until`.

    Args:
        plan: which network.
        until: the deepest stage to build; nothing behind it exists or needs weights.
        output_stride: 32 as trained for ImageNet; 16 or 8 put dilation in the place of stride.
    """

    pyramid = ("layer2", "layer3", "layer4")
    semantic = "layer3"

    def __init__(
        self,
        plan: ResNetPlan,
        *,
        until: str = "layer4",
        output_stride: Literal[8, 16, 32] = 32,
    ):
        super().__init__()
        self.plan = plan
        self._add_stem(plan)
        stages = [Stage("stem", plan.stem_channels, 4, 0)]
        channels, stride, dilation = plan.stem_channels, 4, 1
        for number, (count, width) in enumerate(zip(plan.blocks, plan.widths, strict=True), 1):
            if stages[-1].name == until:
                break
            step = 1 if number == 1 else 2
            first_dilation = dilation
            if stride * step > output_stride:
                dilation *= step
                step = 1
            stride *= step
            out = width * 4 if plan.bottleneck else width
            blocks = [_block(plan, channels, width, out, step, first_dilation)]
            blocks += [_block(plan, out, width, out, 1, dilation) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            stages.append(Stage(f"layer{number}", out, stride, count))
            channels = out
        self.stages = tuple(stages)
        unbuilt = range(len(stages), len(plan.blocks) + 1)
        self.unused_keys = ("fc.", *(f"layer{number}." for number in unbuilt))

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`; the taps are the sums before each block's last ReLU."""
        x = self._stem(self.sized(images))
        for index, stage in enumerate(self.stages):
            taps: list[Tensor] = []
            if index > 0:
                for block in self.get_submodule(stage.name).children():
                    assert isinstance(block, Block)
                    taps.append(block.before_activation(x))
                    x = F.relu(taps[-1])
            if edit is not None:
                x = edit(index, x)
            yield StageMaps(stage, taps, x)

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The stem's modules, or one layer."""
        if index > 0:
            return [self.get_submodule(self.stages[index].name)]
        return [self.layer0] if self.plan.stem == "deep" else [self.conv1, self.bn1]

    def _add_stem(self, plan: ResNetPlan) -> None:
        out = plan.stem_channels
        if plan.stem == "deep":
            half = out // 2
            convolutions = nn.Sequential(
                _conv(3, half, 3, stride=2),
                nn.BatchNorm2d(half),
                nn.ReLU(),
                _conv(half, half, 3),
                nn.BatchNorm2d(half),
                nn.ReLU(),
                _conv(half, out, 3),
            )
            self.layer0 = nn.Sequential(convolutions, nn.BatchNorm2d(out), nn.ReLU(), _pool(plan))
        else:
            self.conv1 = _conv(3, out, 7 if plan.stem == "single" else 3, stride=2)
            self.bn1 = nn.BatchNorm2d(out)
            self.maxpool = _pool(plan)

    def _stem(self, images: Tensor) -> Tensor:
        if self.plan.stem == "deep":
            return self.layer0(images)
        return self.maxpool(F.relu(self.bn1(self.conv1(images))))


def _block(
    plan: ResNetPlan, inside: int, width: int, out: int, stride: int, dilation: int
) -> Block:
    if plan.bottleneck:
        first, second = (stride, 1) if plan.stride_in == "1x1" else (1, stride)
        convolutions = [
            _conv(inside, width, 1, stride=first),
            _conv(width, width, 3, stride=second, dilation=dilation),
            _conv(width, out, 1),
        ]
    else:
        convolutions = [
            _conv(inside, width, 3, stride=stride, dilation=dilation),
            _conv(width, out, 3, dilation=dilation),
        ]
    shortcut = None
    if stride != 1 or inside != out:
        shortcut = nn.Sequential(_conv(inside, out, 1, stride=stride), nn.BatchNorm2d(out))
    return Block(convolutions, shortcut)


def _conv(inside: int, out: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = (kernel // 2) * dilation
    return nn.Conv2d(
        inside, out, kernel, stride=stride, padding=padding, dilation=dilation, bias=False
    )


def _pool(plan: ResNetPlan) -> nn.MaxPool2d:
    if plan.pool == "ceil":
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return nn.MaxPool2d(3, stride=2, padding=1)


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> ResNet:
    """The ResNet of that card name; `until` may be `semantic` or `pyramid`."""
    deepest = {"semantic": ResNet.semantic, "pyramid": ResNet.pyramid[-1]}.get(until, until)
    return ResNet(PLANS[name], until=deepest, output_stride=output_stride)
