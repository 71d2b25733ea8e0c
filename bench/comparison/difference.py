"""A minus B on each domain and in the mean: interval, test, and what may be said."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records.results import RunResult
from ..statistics.bootstrap import Interval, Resampled, resampled, together
from ..statistics.claims import ALPHA, NONE, detectable
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .current import state_of
from .keys import ColumnKey
from .pairing import Pairs

MEAN = "mean"
"""Stands for a domain's title where all domains count alike."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A minus B on one domain, or in the mean over domains.

    Attributes:
        domain: its title; `mean` for the mean over the domains above it.
        seeds: on which both were asked.
        episodes: per seed.
        limited: whether they are the first of more.
        short_of: what of the protocol it is, in words, where it is not all data or not all
            episodes; else empty.
        a: mIoU of A in percent, the mean over the seeds.
        b: mIoU of B.
        interval: of A - B in points; None where a class has fewer than 5 query images.
        spread: standard deviation of A - B over the seeds; None for a single one.
        p: of the sign-flip test.
        p_holm: adjusted for the number of domains.
        wins: episodes that A segments better.
        ties: episodes with the same IoU.
        losses: episodes that B segments better.
        detectable: points that this comparison finds in four cases of five.
        verdict: in words.
        stale_a: whether older code computed A's.
        stale_b: whether older code computed B's.
    """

    domain: str
    seeds: tuple[int, ...]
    episodes: int
    limited: bool
    short_of: str
    a: float
    b: float
    interval: Interval | None
    spread: float | None
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    detectable: float | None
    verdict: str
    stale_a: bool
    stale_b: bool

    @property
    def length(self) -> str:
        """Episodes per seed, in words where they are not the whole protocol."""
        is_cut = self.limited and self.domain != MEAN
        return f"first {self.episodes}" if is_cut else str(self.episodes)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def differences_of(pairs: Pairs, minimum: float, resamples: int) -> tuple[Difference, ...]:
    """A minus B on each domain; the mean last where there are several.

    Args:
        pairs: results on the same episodes.
        minimum: the declared smallest difference of a claim, in points.
        resamples: of the bootstrap and of the sign-flip test.
    """
    found: dict[ColumnKey, tuple[Resampled | None, NDArray[np.float64], float]] = {}
    for column, cells in pairs.items():
        runs = [x.counted for _, x, _ in cells] + [y.counted for _, _, y in cells]
        clusters = clustered(runs)
        number = len(cells)
        weights = [1 / number] * number + [-1 / number] * number
        under_null = swapped(clusters, permutations=resamples, stream=column.domain)
        found[column] = (
            resampled(clusters, weights, resamples=resamples), under_null, difference(clusters)
        )  # fmt: skip
    adjusted = holm({column: p_value(total, null) for column, (_, null, total) in found.items()})
    differences = [
        _on_domain(column, cells, found[column], adjusted[column], minimum)
        for column, cells in pairs.items()
    ]
    if len(pairs) > 1:
        differences.append(_mean(differences, list(found.values()), minimum))
    return tuple(differences)


def _on_domain(
    column: ColumnKey,
    cells: Sequence[tuple[int, RunResult, RunResult]],
    found: tuple[Resampled | None, NDArray[np.float64], float],
    p_holm: float,
    minimum: float,
) -> Difference:
    resample, under_null, total = found
    scores = [(_miou(x), _miou(y)) for _, x, y in cells]
    better = [
        _sign(p.counts.inter * q.counts.union, q.counts.inter * p.counts.union)
        for _, x, y in cells
        for p, q in zip(x.rows, y.rows, strict=True)
    ]
    each_seed = [a - b for a, b in scores]
    return Difference(
        domain=column.domain,
        seeds=tuple(seed for seed, _, _ in cells),
        episodes=column.episodes,
        limited=column.limited,
        short_of=_short_of(column),
        a=statistics.fmean(a for a, _ in scores),
        b=statistics.fmean(b for _, b in scores),
        interval=resample.mean if resample else None,
        spread=statistics.stdev(each_seed) if len(each_seed) > 1 else None,
        p=p_value(total, under_null),
        p_holm=p_holm,
        wins=better.count(1),
        ties=better.count(0),
        losses=better.count(-1),
        detectable=detectable(resample.mean if resample else None),
        verdict=verdict_on(total, p_holm, minimum),
        stale_a=any(state_of(x.record) == "stale" for _, x, _ in cells),
        stale_b=any(state_of(y.record) == "stale" for _, _, y in cells),
    )


def _short_of(column: ColumnKey) -> str:
    parts = [column.profile] if column.is_partial else []
    parts += [f"the first {column.episodes} episodes"] if column.limited else []
    return ", ".join(parts)


def _mean(
    differences: Sequence[Difference],
    found: Sequence[tuple[Resampled | None, NDArray[np.float64], float]],
    minimum: float,
) -> Difference:
    number = len(found)
    parts = [resample for resample, _, _ in found if resample is not None]
    interval = together(parts) if len(parts) == number else None
    total = sum(total for _, _, total in found) / number
    p = p_value(total, np.sum([null for _, null, _ in found], axis=0) / number)
    return Difference(
        domain=MEAN,
        seeds=tuple(sorted({seed for d in differences for seed in d.seeds})),
        episodes=sum(d.episodes for d in differences),
        limited=any(d.limited for d in differences),
        short_of="a mean over these" if any(d.short_of for d in differences) else "",
        a=statistics.fmean(d.a for d in differences),
        b=statistics.fmean(d.b for d in differences),
        interval=interval,
        spread=None,
        p=p,
        p_holm=p,
        wins=sum(d.wins for d in differences),
        ties=sum(d.ties for d in differences),
        losses=sum(d.losses for d in differences),
        detectable=detectable(interval),
        verdict=verdict_on(total, p, minimum),
        stale_a=any(d.stale_a for d in differences),
        stale_b=any(d.stale_b for d in differences),
    )


def verdict_on(difference: float, p: float, minimum: float) -> str:
    """What may be said: a claim needs significance and the declared minimum."""
    if p > ALPHA:
        return NONE
    if abs(difference) < minimum:
        return f"different, by less than {minimum:g} points"
    return "A is better" if difference > 0 else "B is better"


def _miou(answer: RunResult) -> float:
    assert answer.record.metrics is not None
    return answer.record.metrics.miou


def _sign(ours: int, theirs: int) -> int:
    return (ours > theirs) - (ours < theirs)
