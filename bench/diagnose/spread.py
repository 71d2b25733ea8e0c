"""How sure a number is: over query images, over episodes, over seeds.

These are intervals for looking, by Student's rule from few values; claims between methods belong to
`cdfss-bench compare`, whose intervals are measured to hold what they say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from ..records.cell_folder import EpisodeRow
from ..statistics.bootstrap import jackknife
from ..statistics.clusters import clustered
from ..statistics.metrics import measure

RESAMPLES = 2_000


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

    def text(self, form: str = "+.2f") -> str:
        """`+1.20 [+0.31, +2.09]`; without the ends where there are none."""
        if np.isnan(self.estimate):
            return "unknown"
        if np.isnan(self.low):
            return f"{self.estimate:{form}} (no interval)"
        return f"{self.estimate:{form}} [{self.low:{form}}, {self.high:{form}}]"

    def __str__(self) -> str:
        """With two digits."""
        return self.text()

    def columns(self, name: str) -> dict[str, float]:
        """`NAME`, `NAME_low`, `NAME_high` of a table's row."""
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}


def range_of(row: Any, name: str) -> Range:
    """What `Range.columns(name)` put into a table's row."""
    return Range(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]))


def miou_of(rows: Sequence[EpisodeRow]) -> float:
    """Class-pooled mIoU in percent."""
    return measure([row.episode.class_id for row in rows], [row.counts for row in rows]).miou


def miou_range(
    after: Sequence[Sequence[EpisodeRow]], before: Sequence[Sequence[EpisodeRow]] = ()
) -> Range:
    """Mean mIoU (%) over runs, or the paired difference `after` - `before` in points.

    The interval is over query images, stratified by class: the delete-one jackknife's standard
    error. It has no ends where a class has a single image.
    """
    minus = [-1 / len(before)] * len(before) if before else []
    weights = np.array([1 / len(after)] * len(after) + minus)
    clusters = clustered([*after, *before])
    value = float(clusters.ious().mean(0) @ weights)
    if clusters.fewest < 2:
        return Range(value, float("nan"), float("nan"))
    freedom = sum(len(counts) - 1 for counts in clusters.counts)
    errors = [float(np.linalg.norm(jackknife(counts) @ weights)) for counts in clusters.counts]
    reach = student(freedom) * math.hypot(*errors) / len(errors)
    return Range(value, value - reach, value + reach)


def mean_range(values: ArrayLike) -> Range:
    """The mean of independent values (one per image, episode or seed) with Student's interval."""
    data = _clean(values)
    if len(data) < 2:
        return Range(float(data[0]) if len(data) else float("nan"), float("nan"), float("nan"))
    mean = float(data.mean())
    reach = student(len(data) - 1) * float(data.std(ddof=1)) / np.sqrt(len(data))
    return Range(mean, mean - reach, mean + reach)


def ratio_range(above: ArrayLike, below: ArrayLike, *, seed: int = 0) -> Range:
    """The ratio of two independent samples' means, with a bootstrap interval on the log scale."""
    top, bottom = _clean(above), _clean(below)
    if min(len(top), len(bottom)) < 2 or min(top.mean(), bottom.mean()) <= 0:
        known = len(top) > 0 and len(bottom) > 0 and bottom.mean() > 0
        value = float(top.mean() / bottom.mean()) if known else float("nan")
        return Range(value, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = [d[rng.integers(len(d), size=(RESAMPLES, len(d)))].mean(1) for d in (top, bottom)]
    ratio = float(top.mean() / bottom.mean())
    moved = np.log(np.maximum(drawn[0], 1e-300)) - np.log(np.maximum(drawn[1], 1e-300))
    reach = float(np.quantile(np.abs(moved - np.log(ratio)), 0.95))
    return Range(ratio, float(ratio * np.exp(-reach)), float(ratio * np.exp(reach)))


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution."""
    return float(stdtrit(freedom, 0.975))


def _clean(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, np.float64)
    return data[np.isfinite(data)]
