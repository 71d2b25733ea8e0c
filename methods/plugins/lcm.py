"""LCM, the low-level calibration module of LoEC: low-level similarity corrects the score map.

The paper's body was not readable; the formula, K, w and beta are as quoted from it. What is open
(which features, which patches) stands in the card, with our choices. `auto`, which chooses K, w and
beta from each episode's support, is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.base import Backbone
from ..core.contract import Adaptation
from ..core.plugin_api import ScorePlugin, Trial

GRID: tuple[Sequence[int], Sequence[float], Sequence[float | str]] = (
    (1, 3, 5),
    (0.15, 0.3, 0.6, 1.2),
    (0.5, 0.7, 0.9, "mean"),
)
"""K, w and beta among which `auto` chooses, about the published values."""


class LCM(ScorePlugin):
    """Adds `w (Sim_k - beta)` for the K most confident patches to the foreground score, at test.

    Sim_k is the cosine of the query's low-level feature in anchor patch k to that in each patch.

    Options: see `lcm.yaml`.
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
        activation: str = "none",
        descriptor: str = "mean",
        auto: bool = False,
    ):
        super().__init__()
        self.stage = stage
        self.patch = patch
        self.k = k
        self.w = w
        self.beta = beta
        self.center = center
        self.rectified = activation == "relu"
        self.flatten = descriptor == "flatten"
        self.auto = auto
        self._stage_name = ""

    @property
    def adaptation(self) -> Adaptation:
        """With `auto` it learns from the episode's support."""
        return "episode" if self.auto else "none"

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
        similarity = self.similarities(maps, low.repeat_interleave(shots, 0), self.patches(size))
        return added(maps, self.correction(similarity)).unflatten(0, (-1, shots))

    def correction(self, similarity: Tensor) -> Tensor:
        """What is added to the foreground, [N, 1, gh, gw], for Sim_k [N, k, gh, gw]."""
        return weighted(similarity, w=self.w, beta=self.beta)

    def choose(
        self, trials: Sequence[Trial], decide: Callable[[Tensor, tuple[int, int]], Tensor]
    ) -> None:
        """Sets k, w and beta to those of `candidates` with the highest IoU over all `trials`.

        Intersections and unions are summed before they are divided, as the field pools a class.
        """
        found = self.candidates()
        sums = torch.zeros((2, len(found)), dtype=torch.int64, device=trials[0].truth.device)
        self.k = max(k for k, _, _ in found)  # the first of many anchors are those of few
        for trial in trials:
            truth = trial.truth > 0
            size = (truth.shape[0], truth.shape[1])
            maps = trial.logits[0]
            low = trial.low.expand(len(maps), -1, -1, -1)
            similarity = self.similarities(maps, low, self.patches(size))
            for row, (k, w, beta) in enumerate(found):
                changed = added(maps, weighted(similarity[:, :k], w=w, beta=beta))
                mask = decide(changed[None], size)[0] > 0
                sums[0, row] += (mask & truth).sum()
                sums[1, row] += (mask | truth).sum()
        counts = sums.cpu()  # an accelerator is waited for once
        score = counts[0].double() / counts[1].clamp_min(1)
        self.k, self.w, self.beta = found[int((score == score.max()).nonzero()[0])]

    def candidates(self) -> list[tuple[int, float, float | str]]:
        """(k, w, beta): as typed, then none at all (w = 0), then the grid."""
        typed = (self.k, self.w, self.beta)
        return list(dict.fromkeys((typed, (self.k, 0.0, self.beta), *product(*GRID))))

    def patches(self, size: tuple[int, int]) -> tuple[int, int]:
        """Patches down and across an image of `size` pixels."""
        return max(1, round(size[0] / self.patch)), max(1, round(size[1] / self.patch))

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
        if self.rectified:
            low = low.relu()
        if self.center:
            low = low - low.mean((2, 3), keepdim=True)
        if self.flatten:
            cells = (max(1, round(low.shape[-2] / grid[0])), max(1, round(low.shape[-1] / grid[1])))
            pooled = F.adaptive_avg_pool2d(low, (grid[0] * cells[0], grid[1] * cells[1]))
            rows = F.unfold(pooled, cells, stride=cells)
        else:
            rows = F.adaptive_avg_pool2d(low, grid).flatten(2)
        return F.normalize(rows, dim=1)


def weighted(similarity: Tensor, *, w: float, beta: float | str) -> Tensor:
    """`w sum_k (Sim_k - beta)`, [N, 1, gh, gw], of Sim_k [N, k, gh, gw]."""
    level = similarity.mean((2, 3), keepdim=True) if beta == "mean" else float(beta)
    return w * (similarity - level).sum(1, keepdim=True)


def added(maps: Tensor, correction: Tensor) -> Tensor:
    """`maps` [N, 2, h, w] with `correction` [N, 1, gh, gw] added to the foreground, resized."""
    correction = F.interpolate(correction, maps.shape[-2:], mode="bilinear", align_corners=True)
    return torch.cat((maps[:, :1], maps[:, 1:] + correction), dim=1)
