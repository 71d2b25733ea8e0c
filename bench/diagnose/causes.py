"""Why a method fails, in order: what each kind of diagnosis offers as a cause, and the verdict."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import ndtri

from .spread import Range

POINTS = "points of mIoU"
"""The unit in which causes can be compared with each other."""


@dataclass(frozen=True)
class Cause:
    """One possible cause with its size; 0 is a cause that does nothing.

    Attributes:
        kind: of the diagnosis that measured it.
        name: what is wrong, a few words.
        size: how much, with a 95 % interval that holds for all the numbers it was chosen from.
        unit: of the size; `POINTS` where curing it is worth that much mIoU.
        where: the target and stage it was measured on, in words.
    """

    kind: str
    name: str
    size: Range
    unit: str = POINTS
    where: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the whole interval lies on the harmful side."""
        return self.size.low > 0

    @property
    def distance(self) -> float:
        """The size in half widths of its interval: 1 where it is just sure, 0 without one."""
        half = self.size.estimate - self.size.low
        return self.size.estimate / half if half > 0 and math.isfinite(half) else 0.0

    def text(self) -> str:
        """`Name (kind): +5.20 [+0.10, +10.30] points of mIoU, where`."""
        place = f", {self.where}" if self.where else ""
        return f"{self.name} ({self.kind}): {self.size} {self.unit}{place}"


def at_once(size: Range, among: int) -> Range:
    """The interval of the largest of several numbers, widened for all of them (Bonferroni)."""
    wider = float(ndtri(1 - 0.025 / among) / ndtri(0.975))
    low, high = (size.estimate + wider * (end - size.estimate) for end in (size.low, size.high))
    return Range(size.estimate, low, high)


def ranked(causes: Iterable[Cause]) -> list[Cause]:
    """The sure ones first; among these points of mIoU by size, then other units by distance."""
    return sorted(
        (cause for cause in causes if math.isfinite(cause.size.estimate)),
        key=lambda cause: (
            not cause.is_sure,
            cause.unit != POINTS,
            -(cause.size.estimate if cause.unit == POINTS else cause.distance),
        ),
    )


def verdict(causes: Sequence[Cause]) -> list[str]:
    """The ranked causes in sentences, the first of which says what can be concluded."""
    order = ranked(causes)
    sure = [cause for cause in order if cause.is_sure]
    worth = [cause for cause in sure if cause.unit == POINTS]
    if not order:
        return ["No kind of diagnosis that applies to this method names a cause."]
    if not sure:
        first = f"None of {len(order)} possible causes is significant at 5 %."
    elif worth:
        first = (
            f"The largest significant cause is: {worth[0].text()}. "
            f"{len(sure)} of {len(order)} possible causes are significant at 5 %."
        )
    else:
        first = (
            f"{len(sure)} of {len(order)} possible causes are significant at 5 %, none of them "
            "measured in points of mIoU: they show what differs on the targets, not what it costs."
        )
    return [first, *(f"{c.text()}; {'' if c.is_sure else 'not '}significant" for c in order)]
