"""Confidence intervals: a studentised bootstrap over query images, stratified by class.

The number is a mean over classes of ratios of sums, so what is drawn again are the terms of the
sums: query images with all their episodes (Field & Welsh, JRSS B 2007), each class by itself
because the protocols fix how often a class is asked. Ten images a class (FSS-1000) are too few for
percentiles of the bootstrap distribution, whose 95 % intervals then hold the truth 89 times in 100.
Therefore the interval is symmetric and studentised (Hall, The Bootstrap and Edgeworth Expansion,
1992, section 3.6), its scale is the jackknife's standard error, which does not fall short in small
classes, and `tests/bench/statistics/test_statistics.py` measures that it holds what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .clusters import Clusters
from .metrics import iou

RESAMPLES = 10_000
LEVEL = 0.95
FEWEST = 5
"""Query images that every run must ask of every class; fewer say nothing about their spread."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its uncertainty, in percent (points for a difference).

    Attributes:
        estimate: from all rows.
        low: lower end of the 95 % interval.
        high: upper end.
        error: standard error.
    """

    estimate: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Resampled:
    """What resampling says of a linear combination of runs.

    Attributes:
        mean: the interval of the mean over classes.
        classes: the intervals of each class, in the order of the clusters, if asked for.
        replicates: studentised deviations of the mean, [R].
        bounds: between which the value must lie.
    """

    mean: Interval
    classes: tuple[Interval, ...]
    replicates: Floats
    bounds: tuple[float, float]


def resampled(
    clusters: Clusters,
    weights: Sequence[float] | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    by_class: bool = True,
) -> Resampled | None:
    """Intervals of `sum_j weights[j] * mIoU_j` and of the same of every class.

    What the interval is meant to hold is the expectation of the protocol's own number over other
    query images of the same classes, asked as often.

    Args:
        clusters: of J runs.
        weights: one per run; by default the mean over runs. (1, -1) is a paired difference.
        resamples: R.
        level: of confidence.
        seed: of the private stream; with the class ids it decides every draw.
        by_class: whether the intervals of the classes are asked for too.

    Returns:
        None where a run asks fewer than 5 query images of a class.
    """
    if clusters.fewest < FEWEST:
        return None
    share = np.full(clusters.runs, 1 / clusters.runs) if weights is None else np.asarray(weights)
    number = len(clusters.class_ids)
    # Beyond what the combination can be, an interval says nothing.
    bounds = (100 * float(share[share < 0].sum()), 100 * float(share[share > 0].sum()))
    found = [
        _replicated(counts, share, _multiplicities(len(counts), resamples, seed, class_id))
        for class_id, counts in zip(clusters.class_ids, clusters.counts, strict=True)
    ]
    values, variances, estimates, errors = (list(column) for column in zip(*found, strict=True))
    estimate = sum(estimates) / number
    error = float(np.sqrt(sum(errors)) / number)
    moved = np.sum(values, axis=0) / number - estimate
    studentised = _studentised(moved, np.sqrt(np.sum(variances, axis=0)) / number)
    return Resampled(
        _interval(estimate, error, studentised, level, bounds),
        tuple(
            _interval(e, s, _studentised(v - e, np.sqrt(r)), level, bounds)
            for v, r, e, s in zip(values, variances, estimates, np.sqrt(errors), strict=True)
            if by_class
        ),
        studentised,
        bounds,
    )


def jackknife(counts: NDArray[np.int64]) -> Floats:
    """Deviations of a class's IoU (%) in each run when its query images are left out one by one.

    Args:
        counts: of a class in `Clusters`, [Q, J, 2].

    Returns:
        [Q, J]: the squares of a combination of its columns sum to the combination's variance.
    """
    whole, left = counts.sum(0), counts.sum(0) - counts
    # A run without its only image keeps its own value.
    left = np.where(left[..., 1:] == 0, whole, left)
    without = 100 * left[..., 0] / np.maximum(left[..., 1], 1)
    return (without - without.mean(0)) * np.sqrt((len(counts) - 1) / len(counts))


def together(parts: Sequence[Resampled], *, level: float = LEVEL) -> Interval:
    """The mean over domains, which were drawn independently of each other."""
    number = len(parts)
    estimate = sum(part.mean.estimate for part in parts) / number
    error = float(np.sqrt(sum(part.mean.error**2 for part in parts)) / number)
    # Each domain's studentised deviation, scaled back: a convolution of their distributions.
    deviations = sum(part.replicates * part.mean.error for part in parts) / (number * error or 1)
    return _interval(estimate, error, np.asarray(deviations), level, parts[0].bounds)


def _replicated(
    counts: NDArray[np.int64], share: Floats, drawn: NDArray[np.uint8]
) -> tuple[Floats, Floats, float, float]:
    """Of one class: R resampled values and their variances, the value and its variance."""
    resamples = len(drawn)
    inter, union = (counts[..., i].astype(np.float64) for i in (0, 1))
    ratio = iou(inter.sum(0), union.sum(0))
    values, variances = np.empty(resamples), np.empty(resamples)
    for rows in _chunks(resamples):
        times = drawn[rows].astype(np.float64)
        if len(share) == 1:
            values[rows], variances[rows] = _of_one_run(times, inter, union, ratio)
            values[rows] *= share
            variances[rows] *= share**2
        else:
            values[rows], variances[rows] = _of_runs(times, inter, union, ratio, share)
    correction = len(counts) / (len(counts) - 1)
    error = jackknife(counts) @ share
    return values, correction * variances, float(ratio @ share), float((error**2).sum())


def _of_runs(
    times: Floats, inter: Floats, union: Floats, ratio: Floats, share: Floats
) -> tuple[Floats, Floats]:
    """Resampled values [R], and the sums of the squares of each image's linearised share in them.

    Args:
        times: how often each image is drawn, [R, Q].
        inter: intersections [Q, J].
        union: unions likewise.
        ratio: of all images, [J].
        share: weights of the runs, [J].
    """
    sums = times @ union
    again, scaled = iou(times @ inter, sums), share / np.maximum(sums, 1)
    if (absent := sums == 0).any():
        # A seed whose few images of a class were not drawn keeps its own value.
        np.copyto(again, ratio, where=absent)
        scaled[absent] = 0
    parts = 100 * scaled @ inter.T - (scaled * again) @ union.T
    return again @ share, (times * parts**2).sum(1)


def _of_one_run(
    times: Floats, inter: Floats, union: Floats, ratio: Floats
) -> tuple[Floats, Floats]:
    """`_of_runs` of one run with weight 1: the square is written out, so all is one product."""
    terms = np.hstack((inter, union, inter**2, inter * union, union**2)).T
    inters, unions, *squares = terms @ times.T  # sums over images, [R] each
    again, scaled = iou(inters, unions), 1 / np.maximum(unions, 1)
    if (absent := unions == 0).any():
        again[absent], scaled[absent] = ratio, 0
    summed = squares[0] * 100**2 + squares[1] * (-200 * again) + squares[2] * again**2
    return again, np.maximum(scaled**2 * summed, 0)


@lru_cache(maxsize=512)
def _multiplicities(images: int, resamples: int, seed: int, class_id: int) -> NDArray[np.uint8]:
    """How often each of Q images is drawn in each of R resamples, [R, Q].

    It is kept, since it is the same for all runs that ask as many images of a class.
    """
    drawn = _stream(seed, class_id).randint(images, size=(resamples, images))
    drawn += np.arange(resamples)[:, None] * images
    times = np.bincount(drawn.ravel(), minlength=resamples * images)
    # No image is drawn more than 255 times: of as many draws as images one or two are expected.
    return times.astype(np.uint8).reshape(resamples, images)


def _studentised(deviations: Floats, errors: Floats) -> Floats:
    # A resample without spread drew one image again and again: it tells nothing of the scale.
    return np.where(errors > 0, deviations / np.where(errors > 0, errors, 1), 0.0)


def _interval(
    estimate: float, error: float, studentised: Floats, level: float, bounds: tuple[float, float]
) -> Interval:
    # Centred: the ratio's small-sample bias is part of the protocol's number, not of its error.
    deviations = np.abs(studentised - studentised.mean())
    reach = float(np.quantile(deviations, level)) * error
    low, high = max(estimate - reach, bounds[0]), min(estimate + reach, bounds[1])
    return Interval(float(estimate), float(low), float(high), float(error))


def _chunks(total: int, size: int = 2_000) -> Iterator[slice]:
    for begin in range(0, total, size):
        yield slice(begin, min(begin + size, total))


def _stream(seed: int, class_id: int) -> np.random.RandomState:
    """A private stream; NumPy keeps RandomState's sequences for ever."""
    name = f"bootstrap/{seed}/{class_id}".encode()
    return np.random.RandomState(np.frombuffer(hashlib.sha256(name).digest(), dtype="<u4"))
