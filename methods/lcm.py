"""LCM, the low-level calibration module of LoEC: low-level similarity corrects the score map.

The paper's body was not readable; the formula, K, w and beta are as quoted from it. What is open
(which features, which patches) stands in the card, with our choices.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .backbones.base import Backbone
from .plugins import ScorePlugin


class LCM(ScorePlugin):
    """Adds `w (Sim_k - beta)` for the K most confident patches to the foreground score, at test.

    Sim_k is the cosine of the query's low-level feature in anchor patch k to that in each patch.

    Args:
        stage: of the low-level feature, 1 is the stem's output.
        patch: side of a patch in image pixels.
        k: anchors.
        w: weight of each anchor.
        beta: similarity below which an anchor argues for background; `mean` takes the image's mean
            similarity to that anchor instead.
        center: subtract each image's channel mean first (post-ReLU cosines are all near 1).
        descriptor: `mean` or `flatten` of the cells in a patch.
    """

    def __init__(
        self,
        *,
        stage: int = 1,
        patch: int = 16,
        k: int = 3,
        w: float = 0.6,
        beta: float | str = 0.7,
        center: bool = False,
        descriptor: str = "mean",
    ):
        super().__init__()
        self.stage = stage
        self.patch = patch
        self.k = k
        self.w = w
        self.beta = beta
        self.center = center
        self.flatten = descriptor == "flatten"
        self._stage_name = ""

    def fit(self, backbone: Backbone) -> None:
        """Notes the name of the stage."""
        self._stage_name = backbone.numbered(self.stage).name

    @property
    def stage_name(self) -> str:
        """The stage of the low-level feature."""
        return self._stage_name

    def calibrate(self, logits: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
        """Each map of `logits` [B, K, 2, h, w] corrected on its own, before any vote."""
        shots = logits.shape[1]
        maps = logits.flatten(0, 1)
        grid = (max(1, round(size[0] / self.patch)), max(1, round(size[1] / self.patch)))
        similarity = self.similarities(maps, low.repeat_interleave(shots, 0), grid)
        beta = similarity.mean((2, 3), keepdim=True) if self.beta == "mean" else float(self.beta)
        correction = self.w * (similarity - beta).sum(1, keepdim=True)
        correction = F.interpolate(correction, maps.shape[-2:], mode="bilinear", align_corners=True)
        corrected = torch.cat((maps[:, :1], maps[:, 1:] + correction), dim=1)
        return corrected.unflatten(0, (-1, shots))

    def similarities(self, maps: Tensor, low: Tensor, grid: tuple[int, int]) -> Tensor:
        """Sim_k [N, k, gh, gw] of `maps` [N, 2, h, w] with `low` [N, C, h', w']."""
        anchors = self.anchors(maps, grid)
        described = self.descriptors(low, grid)
        chosen = described.gather(2, anchors[:, None].expand(-1, described.shape[1], -1))
        return (chosen.transpose(1, 2) @ described).unflatten(2, grid)

    def anchors(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """Indices [N, k] of the patches with the largest mean of S_1 - S_0; ties: lowest index."""
        confidence = F.adaptive_avg_pool2d(maps[:, 1:] - maps[:, :1], grid).flatten(1)
        return confidence.sort(dim=1, descending=True, stable=True).indices[:, : self.k]

    def descriptors(self, low: Tensor, grid: tuple[int, int]) -> Tensor:
        """Unit descriptors [N, C, gh*gw] of the patches."""
        if self.center:
            low = low - low.mean((2, 3), keepdim=True)
        if self.flatten:
            cells = (max(1, round(low.shape[-2] / grid[0])), max(1, round(low.shape[-1] / grid[1])))
            pooled = F.adaptive_avg_pool2d(low, (grid[0] * cells[0], grid[1] * cells[1]))
            rows = F.unfold(pooled, cells, stride=cells)
        else:
            rows = F.adaptive_avg_pool2d(low, grid).flatten(2)
        return F.normalize(rows, dim=1)
