"""Center-pivot 4D convolution (HSNet section 4.2, `model/base/conv4d.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CenterPivotConv4d(nn.Module):
    """A 4D convolution pruned to the kernels that touch its centre: two 2D convolutions, added.

    Args:
        inside: input channels.
        out: output channels.
        kernel: odd side of both kernels.
        support_stride: stride over the support dimensions; the query dimensions keep their size.

    State-dict keys: `conv1` runs over the query dimensions, `conv2` over the support dimensions.
    """

    def __init__(self, inside: int, out: int, kernel: int, support_stride: int):
        super().__init__()
        self.stride = support_stride
        padding = kernel // 2
        self.conv1 = nn.Conv2d(inside, out, kernel, padding=padding)
        self.conv2 = nn.Conv2d(inside, out, kernel, stride=support_stride, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, hq, wq, hs, ws] -> [B, C', hq, wq, ceil(hs / stride), ceil(ws / stride)]."""
        batch, _, hq, wq, _, _ = x.shape
        pivots = x[..., :: self.stride, :: self.stride]
        hs, ws = pivots.shape[-2:]
        over_query = self.conv1(pivots.permute(0, 4, 5, 1, 2, 3).flatten(0, 2))
        over_query = over_query.reshape(batch, hs, ws, -1, hq, wq).permute(0, 3, 4, 5, 1, 2)
        over_support = self._over_support(x.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))
        over_support = over_support.reshape(batch, hq, wq, -1, hs, ws).permute(0, 3, 1, 2, 4, 5)
        return over_query + over_support

    def _over_support(self, maps: Tensor) -> Tensor:
        side = min(maps.shape[-2:])
        if self.stride <= side or not torch.is_autocast_enabled("cpu"):
            return self.conv2(maps)
        # oneDNN's bf16 weight gradient reads unwritten memory where a stride exceeds the map.
        with torch.autocast("cpu", enabled=False):
            return self.conv2(maps.float())


class Squeeze(nn.Sequential):
    """Three times [4D convolution, group normalisation, ReLU]; keys `0, 1, 3, 4, 6, 7`.

    Args:
        channels: of the input and of each convolution's output, four numbers.
        kernels: three sides.
        strides: three support strides.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        kernels: tuple[int, int, int],
        strides: tuple[int, int, int],
    ):
        layers: list[nn.Module] = []
        for inside, out, kernel, stride in zip(
            channels[:-1], channels[1:], kernels, strides, strict=True
        ):
            layers += [
                CenterPivotConv4d(inside, out, kernel, stride),
                nn.GroupNorm(4, out),
                nn.ReLU(),
            ]
        super().__init__(*layers)


def upsampled_query(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, hq, wq, hs, ws] with its query dimensions brought to `size`, bilinear, aligned."""
    batch, channels, hq, wq, hs, ws = x.shape
    maps = x.permute(0, 4, 5, 1, 2, 3).reshape(batch * hs * ws, channels, hq, wq)
    maps = torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=True)
    return maps.reshape(batch, hs, ws, channels, *size).permute(0, 3, 4, 5, 1, 2)
