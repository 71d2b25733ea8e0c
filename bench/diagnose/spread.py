"""How sure a number is: over query images, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..bootstrap import resampled
from ..clusters import clustered
from ..folder import EpisodeRow
from ..metrics import measure

RESAMPLES = 2_000

# Student's 97.5 % quantiles for 1 to 9 degrees of freedom; beyond, the normal one is near enough.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate with its 95 % interval; the ends are NaN where nothing can be said."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the sign is sure."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """`+1.2 [+0.3, +2.1]`."""
        if np.isnan(self.low):
            return f"{self.estimate:+.2f} (no interval)"
        return f"{self.estimate:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def miou_of(rows: Sequence[EpisodeRow]) -> float:
    """Class-pooled mIoU in percent."""
    return measure([row.episode.class_id for row in rows], [row.counts for row in rows]).miou


def miou_range(
    after: Sequence[Sequence[EpisodeRow]], before: Sequence[Sequence[EpisodeRow]] = ()
) -> Range:
    """Mean mIoU over runs, or the paired difference `after` - `before`, in points.

    The interval is over query images, which all runs share (`bench/bootstrap.py`); it has no ends
    where a class has fewer than five of them.
    """
    weights = [1 / len(after)] * len(after) + [-1 / len(before)] * len(before)
    value = float(np.dot(weights, [miou_of(rows) for rows in (*after, *before)]))
    found = resampled(clustered([*after, *before]), weights, resamples=RESAMPLES)
    if found is None:
        return Range(value, float("nan"), float("nan"))
    return Range(value, found.mean.low, found.mean.high)


def mean_range(values: ArrayLike, *, seed: int = 0) -> Range:
    """The mean of independent values (one per image or episode) with a bootstrap-t interval."""
    data = _clean(values)
    if len(data) < 2:
        return _alone(data)
    rng = np.random.default_rng(seed)
    error = data.std(ddof=1) / np.sqrt(len(data))
    drawn = data[rng.integers(len(data), size=(RESAMPLES, len(data)))]
    spread = drawn.std(1, ddof=1) / np.sqrt(len(data))
    moved = np.abs(drawn.mean(1) - data.mean())
    t = np.where(spread > 0, moved / np.where(spread > 0, spread, 1), 0)
    reach = float(np.quantile(t, 0.95)) * error
    return Range(float(data.mean()), float(data.mean() - reach), float(data.mean() + reach))


def seed_range(values: ArrayLike) -> Range:
    """The mean over a few seeds with Student's interval; no ends for a single one."""
    data = _clean(values)
    if len(data) < 2:
        return _alone(data)
    freedom = len(data) - 1
    quantile = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96
    reach = quantile * float(data.std(ddof=1)) / np.sqrt(len(data))
    return Range(float(data.mean()), float(data.mean() - reach), float(data.mean() + reach))


def _clean(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, np.float64)
    return data[np.isfinite(data)]


def _alone(data: NDArray[np.float64]) -> Range:
    return Range(float(data[0]) if len(data) else float("nan"), float("nan"), float("nan"))


def ratio_range(above: ArrayLike, below: ArrayLike, *, seed: int = 0) -> Range:
    """The ratio of two independent samples' means, with a bootstrap interval on the log scale."""
    top, bottom = _clean(above), _clean(below)
    if min(len(top), len(bottom)) < 2 or min(top.mean(), bottom.mean()) <= 0:
        value = float(top.mean() / bottom.mean()) if len(bottom) and bottom.mean() else float("nan")
        return Range(value, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = [d[rng.integers(len(d), size=(RESAMPLES, len(d)))].mean(1) for d in (top, bottom)]
    ratio = float(top.mean() / bottom.mean())
    moved = np.log(np.maximum(drawn[0], 1e-300)) - np.log(np.maximum(drawn[1], 1e-300))
    reach = float(np.quantile(np.abs(moved - np.log(ratio)), 0.95))
    return Range(ratio, float(ratio * np.exp(-reach)), float(ratio * np.exp(reach)))
