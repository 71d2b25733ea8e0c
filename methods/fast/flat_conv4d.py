"""The centre-pivot convolution of accelerators: two 3D convolutions, without copies of the volume.

Where many maps are 2 x 2, cuDNN's 2D form is Fourier transforms, which took six times as long on an
H200.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blocks.conv4d import CenterPivotConv4d


class FlatCenterPivotConv4d(CenterPivotConv4d):
    """Without gradients both halves are 3D convolutions with a flat kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """As `CenterPivotConv4d`."""
        if torch.is_grad_enabled():
            return super().forward(x)
        padding = self.conv1.kernel_size[0] // 2
        hq, wq = x.shape[2:4]
        pivots = x[..., :: self.stride, :: self.stride]
        over_query = F.conv3d(
            pivots.flatten(4),
            self.conv1.weight[..., None],
            self.conv1.bias,
            padding=(padding, padding, 0),
        )
        over_support = F.conv3d(
            x.flatten(2, 3),
            self.conv2.weight[:, :, None],
            self.conv2.bias,
            stride=(1, self.stride, self.stride),
            padding=(0, padding, padding),
        )
        return over_query.unflatten(4, pivots.shape[4:]) + over_support.unflatten(2, (hq, wq))
