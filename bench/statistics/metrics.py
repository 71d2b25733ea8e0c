"""Everything in percent is derived here from integer counts, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ..records.counts import Counts


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is reported of a cell, in percent.

    Attributes:
        miou: intersections and unions pooled per class, IoU per class, mean over classes: the
            field's headline number (PATNet, HSNet, DR-Adapter, APM, LoEC).
        dice: Dice per class from the same pooled counts, mean over classes.
        fb_iou: mean of background and foreground IoU, each pooled over all episodes.
        macro_iou: mean of the episodes' own foreground IoU.
        macro_dice: mean of the episodes' own Dice.
        per_class: IoU by class id.
        dice_per_class: Dice by class id.
        episodes: how many were counted.
    """

    miou: float
    dice: float
    fb_iou: float
    macro_iou: float
    macro_dice: float
    per_class: Mapping[int, float]
    dice_per_class: Mapping[int, float]
    episodes: int

    def classes(self, metric: str) -> Mapping[int, float]:
        """By class id: Dice for the metrics of Dice, else IoU."""
        return self.dice_per_class if "dice" in metric else self.per_class

    def value(self, metric: str) -> float:
        """The number of one of `METRICS`."""
        return getattr(self, metric.replace("-", "_"))


METRICS = {
    "miou": "mIoU",
    "dice": "Dice",
    "fb-iou": "FB-IoU",
    "macro-iou": "macro IoU",
    "macro-dice": "macro Dice",
}
"""Names of the metrics, and what tables call them."""


Classes: TypeAlias = "Sequence[int] | NDArray[np.int64]"
"""The class of every episode, [N]."""
Pixels: TypeAlias = "Sequence[Counts] | NDArray[np.int64]"
"""The pixel counts of every episode, [N, 4]."""


@overload
def iou(inter: int, union: int) -> float: ...
@overload
def iou(
    inter: NDArray[np.int64] | NDArray[np.float64], union: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]: ...
def iou(inter: Any, union: Any) -> Any:
    """Intersection over union in percent; 0 where the union is empty, as published."""
    return 100 * inter / np.maximum(union, 1)


def dice(inter: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dice in percent of pooled counts, `2 I / (P + T)` where `P + T = I + U`; 0 without any."""
    return iou(2 * inter, inter + union)


def pooled_by_class(
    class_ids: Classes, counts: Pixels
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted class ids [C] and their summed counts [C, 4] in the order of `Counts`."""
    ids, index = np.unique(np.asarray(class_ids, np.int64), return_inverse=True)
    sums = np.zeros((len(ids), 4), np.int64)
    np.add.at(sums, index, np.asarray(counts, np.int64).reshape(-1, 4))
    return ids, sums


def measure(
    class_ids: Classes, counts: Pixels, *, expected: Sequence[int] | None = None
) -> Metrics:
    """The metrics of episodes of the given classes.

    Args:
        class_ids: one per episode.
        counts: one per episode.
        expected: the classes to average over; one without episodes counts as 0, as in the
            published evaluators. By default the classes that occur: a part of a data set is never
            averaged with silent zeros.

    Raises:
        ValueError: if there is no episode.
    """
    if not len(counts):
        raise ValueError("no episodes to measure")
    ids, sums = pooled_by_class(class_ids, counts)
    per_class = dict(zip(ids.tolist(), iou(sums[:, 0], sums[:, 1]).tolist(), strict=True))
    dices = dict(zip(ids.tolist(), dice(sums[:, 0], sums[:, 1]).tolist(), strict=True))
    wanted = ids.tolist() if expected is None else list(expected)
    total = sums.sum(0)
    each = np.asarray(counts, np.int64)
    return Metrics(
        miou=float(np.mean([per_class.get(class_id, 0.0) for class_id in wanted])),
        dice=float(np.mean([dices.get(class_id, 0.0) for class_id in wanted])),
        fb_iou=float(np.mean(iou(total[0::2], total[1::2]))),
        macro_iou=float(np.mean(iou(each[:, 0], each[:, 1]))),
        macro_dice=float(np.mean(dice(each[:, 0], each[:, 1]))),
        per_class=per_class,
        dice_per_class=dices,
        episodes=len(counts),
    )
