"""Intervals of class-pooled mIoU from few episodes, paired over everything that asked the same.

A diagnosis asks tens of episodes where the protocol asks hundreds: many classes have one or two
query images, too few for the stratified intervals of the tables. Here query images are drawn again
over all classes; a class that was not drawn is absent from that resample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..records.cell_folder import EpisodeRow
from ..statistics.metrics import iou
from .spread import Range, student

RESAMPLES = 2_000
FEWEST = 5
"""Query images; fewer say nothing about their spread, and intervals have no ends."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Resamples:
    """mIoU of several conditions on the same episodes, drawn again together.

    Attributes:
        names: of the conditions.
        values: mIoU in percent of all episodes, [M].
        replicates: of the resamples, [M, R]; NaN where there are too few images.
    """

    names: tuple[str, ...]
    values: Floats
    replicates: Floats

    def of(self, name: str) -> Range:
        """MIoU of a condition."""
        index = self.names.index(name)
        return _range(float(self.values[index]), self.replicates[index])

    def gain(self, name: str, over: str) -> Range:
        """The paired difference of two conditions, in points."""
        one, two = self.names.index(name), self.names.index(over)
        moved = self.replicates[one] - self.replicates[two]
        return _range(float(self.values[one] - self.values[two]), moved)

    def columns(self, name: str, over: str, sure: Range | None = None) -> dict[str, float]:
        """MIoU and gain of a row, and the ends of another interval as `sure_low`, `sure_high`."""
        row = {**self.of(name).columns("miou"), **self.gain(name, over).columns("gain")}
        return row if sure is None else {**row, "sure_low": sure.low, "sure_high": sure.high}

    def gains_at_once(self, names: Sequence[str], over: str) -> list[Range]:
        """Differences whose intervals hold for all of them together.

        The 95th percentile of the largest studentised deviation takes the place of each one's own:
        whoever picks the best of many has not picked noise. (Westfall and Young 1993's max-T.)
        """
        base = self.names.index(over)
        rows = [self.names.index(name) for name in names]
        moved = self.replicates[rows] - self.replicates[base]
        values = self.values[rows] - self.values[base]
        error = moved.std(1)
        scaled = np.abs(moved - values[:, None]) / np.where(error > 0, error, np.inf)[:, None]
        reach = float(np.quantile(scaled.max(0), 0.95)) * error
        return [
            Range(float(v), float(v - r), float(v + r)) for v, r in zip(values, reach, strict=True)
        ]


def paired(conditions: Mapping[str, Sequence[EpisodeRow]], *, seed: int = 0) -> Resamples:
    """The conditions' mIoU with paired resamples over query images.

    Raises:
        ValueError: if the conditions did not ask the same episodes, or none.
    """
    first = next(iter(conditions.values()), ())
    asked = [row.episode for row in first]
    if not asked or any([r.episode for r in rows] != asked for rows in conditions.values()):
        raise ValueError("conditions can only be paired over the same episodes")
    images = {key: i for i, key in enumerate(dict.fromkeys((e.class_id, e.query) for e in asked))}
    classes = {key: i for i, key in enumerate(dict.fromkeys(e.class_id for e in asked))}
    sums = np.zeros((len(images), len(conditions), 2))
    for column, rows in enumerate(conditions.values()):
        for row in rows:
            image = images[row.episode.class_id, row.episode.query]
            sums[image, column] += (row.counts.inter, row.counts.union)
    member = np.zeros((len(images), len(classes)))
    for (class_id, _), image in images.items():
        member[image, classes[class_id]] = 1
    rng = np.random.RandomState(seed)
    times = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), RESAMPLES)
    values = _miou(np.ones((1, len(images))), member, sums)[:, 0]
    drawn = _miou(times.astype(np.float64), member, sums)
    # Percentiles of the bootstrap are too narrow for few images: Hesterberg (2015) expands them.
    number = len(images)
    wider = student(number - 1) / 1.96 * np.sqrt(number / (number - 1)) if number > 1 else 1.0
    drawn = values[:, None] + wider * (drawn - values[:, None])
    replicates = drawn if number >= FEWEST else np.full_like(drawn, np.nan)
    return Resamples(tuple(conditions), values, replicates)


def share_range(hits: Sequence[bool] | NDArray[np.bool_]) -> Range:
    """How often something is so, 0 to 1, with Wilson's interval: it has ends even at 0 and 1.

    Raises:
        ValueError: if nothing was asked.
    """
    if not len(hits):
        raise ValueError("a share of nothing")
    found = binomtest(int(np.sum(hits)), len(hits))
    ends = found.proportion_ci(method="wilson")
    return Range(float(found.statistic), float(ends.low), float(ends.high))


def _miou(times: Floats, member: Floats, sums: Floats) -> Floats:
    """[M, R] of multiplicities [R, Q], classes [Q, C] and counts [Q, M, 2]."""
    drawn = np.einsum("rq,qc->rc", times, member) > 0
    inter, union = (np.einsum("rq,qc,qm->rcm", times, member, sums[..., i], optimize=True)
                    for i in (0, 1))  # fmt: skip
    return (iou(inter, union) * drawn[..., None]).sum(1).T / drawn.sum(1)


def _range(value: float, replicates: Floats) -> Range:
    low, high = np.quantile(replicates, (0.025, 0.975))
    return Range(value, float(low), float(high))
