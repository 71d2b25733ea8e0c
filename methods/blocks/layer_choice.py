"""Hierarchical layer selection (HLS): which layer, or mix of layers, segments the support best.

HERA (CVPR 2026), `main_hera.py`: every support is predicted from the others on each candidate
layer; mixes of layers around the best one are candidates too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

SHARPNESS = 26.0
"""What a layer's lead in IoU over the mean weighs in a mix."""
DEPTH_PENALTY = 0.5
"""What each layer of distance to the last one costs in a mix."""
SMALLEST_SHARE = 0.02
"""Of a mix, before it is divided by the number of layers."""
WIDE, WIDER, SIDE, NARROW = 7, 9, 8, 5
"""Layers in the window, the wider window, the front and the tail, and the core of the union."""
EPS = 1e-6

Judge = Callable[[Tensor], Tensor]
"""Maps [N, C, h, w] of the N images -> IoU [N] of each one's prediction from the others."""


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """What was chosen from the support."""

    layers: tuple[int, ...]  # one, or those of a mix, ascending; indices from 0
    weights: tuple[float, ...]  # of the mix, one per layer, sum 1
    best: int  # the best single layer
    singles: tuple[float, ...]  # mean leave-one-out IoU of every candidate layer
    mixes: tuple[tuple[tuple[int, ...], float], ...] = ()  # that were tried, with IoU

    @property
    def is_mix(self) -> bool:
        """Whether more than one layer is read."""
        return len(self.layers) > 1

    def shifted(self, by: int) -> LayerChoice:
        """The same layers, as they are numbered with `by` more in front of them."""
        return replace(
            self,
            layers=tuple(layer + by for layer in self.layers),
            best=self.best + by,
            mixes=tuple((tuple(i + by for i in layers), score) for layers, score in self.mixes),
        )


def mixed_layers(best: int, low: int, high: int) -> list[tuple[int, ...]]:
    """The six mixes tried around layer `best`: window, wider window, front, tail, sparse, union.

    All lie within [low, high] and end with `high`, the last layer. A front, tail or sparse set that
    repeats an earlier one is moved by a layer; where that leaves nothing it stays a repetition.
    """
    window = _window(best, WIDE, low, high)
    wider = _window(best, WIDER, low, high)
    found = [window, wider]
    front = _within(range(low, best + 4), low, high)[:SIDE]
    found.append(_moved(front, [*front[:-1], front[0] - 1], found, low, high))
    tail = _within(range(best - 3, high + 1), low, high)[-SIDE:]
    found.append(_moved(tail, [*tail[1:], tail[-1] + 1], found, low, high))
    sparse = wider[::2]
    found.append(_moved(sparse, wider[1::2], found, low, high))
    found.append(sorted({*_window(best, NARROW, low, high), *found[-1]}))
    return [(*(layer for layer in layers if layer != high), high) for layers in found]


def _window(centre: int, size: int, low: int, high: int) -> list[int]:
    """`size` layers about `centre`, shifted to stay within [low, high], cut where too long."""
    start = max(low, min(centre - size // 2, high - size + 1))
    return _within(range(start, start + size), low, high)


def _within(layers: Sequence[int], low: int, high: int) -> list[int]:
    return sorted({layer for layer in layers if low <= layer <= high})


def _moved(
    layers: list[int], other: Sequence[int], earlier: Sequence[list[int]], low: int, high: int
) -> list[int]:
    return (_within(other, low, high) or layers) if layers in earlier else layers


def mix_weights(scores: Tensor, layers: Sequence[int]) -> Tensor:
    """Weights [n] of the ascending layers of a mix, whose IoUs are `scores` [n].

    `softmax(26 (s - mean s) - |l - last| / 2)`, no weight below 0.02/n before they are divided by
    their sum; the last of the layers is the network's last.
    """
    distance = scores.new_tensor([layers[-1] - layer for layer in layers])
    logits = SHARPNESS * (scores - scores.mean()) - DEPTH_PENALTY * distance
    weights = logits.softmax(0).clamp_min(SMALLEST_SHARE / len(layers))
    return weights / weights.sum()


def mixed(maps: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum of maps [N, C, h, w]; of one map that map."""
    if len(maps) == 1:
        return maps[0]
    return torch.stack([w * m for w, m in zip(weights, maps, strict=True)]).sum(0)


def leave_one_out(
    segment: Callable[[int, Sequence[int]], Tensor], masks: Tensor, copies: Sequence[int]
) -> Tensor:
    """IoU [N] of each image's mask predicted from all the others.

    Args:
        segment: (image, the others) -> mask [1, H, W].
        masks: [N, H, W] of 0 and 1, N > 1.
        copies: of each image the first that equals it, itself where there is none (`first_copies`):
            equal images have equal others and one prediction.
    """
    found = {
        index: segment(index, [other for other in range(len(masks)) if other != index])
        for index in dict.fromkeys(copies)
    }
    return smoothed_iou(torch.cat([found[one] for one in copies]), masks)


def first_copies(images: Tensor, masks: Tensor) -> list[int]:
    """Of each of N images [N, ...] with masks [N, H, W] the first that equals it in both."""
    return [
        next(
            first
            for first in range(index + 1)
            if torch.equal(images[first], images[index]) and torch.equal(masks[first], masks[index])
        )
        for index in range(len(images))
    ]


def smoothed_iou(found: Tensor, truth: Tensor) -> Tensor:
    """Foreground IoU [N] of masks [N, H, W] with the truth; 1 where both are empty."""
    both, either = (found > 0) & (truth == 1), (found > 0) | (truth == 1)
    return (both.sum((1, 2)) + EPS) / (either.sum((1, 2)) + EPS)


def choose_layers(
    candidates: Sequence[Tensor],
    judge: Judge,
    *,
    mixable: Sequence[int],
    directions: Callable[[Tensor], Tensor] = lambda maps: maps,
) -> LayerChoice:
    """The candidate, or the mix of candidates, with the best mean leave-one-out IoU.

    The first of equals wins, and a single layer before any mix.

    Args:
        candidates: maps of every candidate layer, each [N, C, h, w] of the same N > 1 images.
        judge: gives the leave-one-out IoU of each image.
        mixable: consecutive indices of candidates that may be mixed with each other; the last of
            them stands in every mix. Fewer than two: no mixes are tried.
        directions: what of a map enters a mix; all of it where the candidates are unit features.
    """
    # What is tried next depends on these numbers: the host waits for an accelerator here.
    scores = torch.stack([judge(maps).mean() for maps in candidates]).cpu()
    best = _first_best(scores)
    tried: dict[tuple[int, ...], tuple[tuple[float, ...], float]] = {}
    mixes: list[tuple[tuple[int, ...], float]] = []
    if len(mixable) > 1:
        low, high = mixable[0], mixable[-1]
        for layers in mixed_layers(min(max(best, low), high), low, high):
            if layers not in tried:
                weights = tuple(mix_weights(scores[list(layers)], layers).tolist())
                maps = mixed([directions(candidates[layer]) for layer in layers], weights)
                tried[layers] = weights, float(judge(maps).mean())
            mixes.append((layers, tried[layers][1]))
    winner, weights, score = (best,), (1.0,), float(scores[best])
    for layers, found in mixes:
        if found > score:
            winner, weights, score = layers, tried[layers][0], found
    return LayerChoice(winner, weights, best, tuple(scores.tolist()), tuple(mixes))


def _first_best(scores: Tensor) -> int:
    return int((scores == scores.max()).nonzero()[0])
