"""`compare A B`: paired on the same episodes, or refused."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import RecordError, unknown

from .answers import Answer, by_seed, finished
from .bootstrap import Interval, Resampled, resampled, together
from .clusters import clustered
from .leaderboard import ColumnKey, RowKey, column_key, row_key
from .permutation import difference, holm, p_value, swapped
from .records import RunRecord
from .twins import TWIN

MINIMUM = 0.5
"""Points below which a difference is no claim, however certain it is."""
ALPHA = 0.05
_POWER = 1.959964 + 0.841621
"""Standard errors that a true difference must measure to be found at 5 % four times in five."""


class Field(NamedTuple):
    """What both methods must share to be compared at all."""

    suite: str
    protocol: str
    shots: int
    evaluator: int
    precision: str
    image_size: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A minus B on one domain, or in the mean over domains.

    Attributes:
        domain: its title; `mean` for the mean over the domains above it.
        seeds: on which both were asked.
        episodes: per seed.
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
    """

    domain: str
    seeds: tuple[int, ...]
    episodes: int
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

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two methods on all domains that both were asked.

    Attributes:
        a: name of A.
        b: name of B.
        field: what they share.
        differences: by domain; the mean last where there are several.
        minimum: the declared smallest difference of a claim, in points.
    """

    a: str
    b: str
    field: Field
    differences: tuple[Difference, ...]
    minimum: float

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "a": self.a,
            "b": self.b,
            **self.field._asdict(),
            "minimum": self.minimum,
            "differences": [each.to_json() for each in self.differences],
        }


def chosen(found: Sequence[Answer], name: str, results: Path) -> list[Answer]:
    """The finished answers that a name or the folder of a run means.

    Raises:
        RecordError: if nothing answers, or several rows of a leaderboard do.
    """
    done = finished(found)
    folder = Path(name)
    if (folder / "run.json").is_file():
        wanted = (folder / "run.json").resolve()
        hit = [a for a in done if a.path.resolve() == wanted]
        if not hit:
            raise RecordError(f"{folder} is not a finished run under {results}")
        return hit
    hit = [a for a in done if a.record.method.label == name]
    if not hit:
        raise unknown(
            "or unfinished method", name, {a.record.method.label for a in done}, error=RecordError
        )
    rows = {row_key(a.record) for a in hit}
    if len(rows) > 1:
        raise RecordError(
            f"'{name}' stands for {len(rows)} rows: {'; '.join(sorted(map(_spoken, rows)))}",
            mend=f"narrow it with --backbone, or name a run's folder: {hit[0].path.parent}",
        )
    return hit


def compare(
    a: Sequence[Answer],
    b: Sequence[Answer],
    *,
    minimum: float = MINIMUM,
    resamples: int = 10_000,
) -> list[Comparison]:
    """Every comparison that the answers of two methods allow.

    Raises:
        RecordError: if they share no domain, or were not asked the same episodes.
    """
    fields = sorted({_field(x.record) for x in a} & {_field(x.record) for x in b})
    comparisons: list[Comparison] = []
    for field in fields:
        ours, theirs = ([x for x in side if _field(x.record) == field] for side in (a, b))
        pairs = _paired(ours, theirs)
        if pairs:
            names = (_name(ours[0], theirs[0]), _name(theirs[0], ours[0]))
            compared = _compared(pairs, minimum, resamples)
            comparisons.append(Comparison(*names, field, compared, minimum))
    if not comparisons:
        raise RecordError(
            "the two have no domain, shots, protocol and seed in common",
            mend="run both with the same -d, -k, --seed and --protocol",
        )
    return comparisons


Pairs = dict[ColumnKey, list[tuple[int, Answer, Answer]]]


def _paired(a: Sequence[Answer], b: Sequence[Answer]) -> Pairs:
    """Answers to the same questions, by domain and seed."""
    pairs: Pairs = {}
    domains = sorted({x.record.domain.title for x in a} & {x.record.domain.title for x in b})
    for domain in domains:
        ours, theirs = (_by_column(side, domain) for side in (a, b))
        for column in sorted(ours.keys() & theirs.keys()):
            first, second = by_seed(ours[column]), by_seed(theirs[column])
            for seed in sorted(first.keys() & second.keys()):
                _same_questions(first[seed], second[seed])
                pairs.setdefault(column, []).append((seed, first[seed], second[seed]))
        if not ours.keys() & theirs.keys():
            raise RecordError(
                f"{domain}: the two saw different data or numbers of episodes "
                f"({_populations(ours)} and {_populations(theirs)})",
                mend="run both on the same data, with the same --episodes",
            )
    return pairs


def _same_questions(a: Answer, b: Answer) -> None:
    if a.record.episodes.sha256 == b.record.episodes.sha256:
        return
    labels = {a.record.method.label, b.record.method.label}
    twins = any(f"{label}{TWIN}" in labels for label in labels)
    if twins and a.asked == b.asked:
        return  # a twin is shown other supports on purpose; its queries are the same
    raise RecordError(
        f"{a.record.domain.title}, seed {a.record.episodes.seed}: the two were asked different "
        f"episodes ({a.record.episodes.sha256[:8]} and {b.record.episodes.sha256[:8]})",
        mend="run both with this version; episodes of another sampler are never paired",
    )


def _compared(pairs: Pairs, minimum: float, resamples: int) -> tuple[Difference, ...]:
    found: dict[ColumnKey, tuple[Resampled | None, NDArray[np.float64], float]] = {}
    for column, cells in pairs.items():
        runs = [x.rows for _, x, _ in cells] + [y.rows for _, _, y in cells]
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
    if len({column.domain for column in pairs}) == len(pairs) > 1:
        differences.append(_mean(differences, list(found.values()), minimum))
    return tuple(differences)


def _on_domain(
    column: ColumnKey,
    cells: Sequence[tuple[int, Answer, Answer]],
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
        a=statistics.fmean(a for a, _ in scores),
        b=statistics.fmean(b for _, b in scores),
        interval=resample.mean if resample else None,
        spread=statistics.stdev(each_seed) if len(each_seed) > 1 else None,
        p=p_value(total, under_null),
        p_holm=p_holm,
        wins=better.count(1),
        ties=better.count(0),
        losses=better.count(-1),
        detectable=_POWER * resample.mean.error if resample else None,
        verdict=verdict_on(total, p_holm, minimum),
    )


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
        domain="mean",
        seeds=tuple(sorted({seed for d in differences for seed in d.seeds})),
        episodes=sum(d.episodes for d in differences),
        a=statistics.fmean(d.a for d in differences),
        b=statistics.fmean(d.b for d in differences),
        interval=interval,
        spread=None,
        p=p,
        p_holm=p,
        wins=sum(d.wins for d in differences),
        ties=sum(d.ties for d in differences),
        losses=sum(d.losses for d in differences),
        detectable=_POWER * interval.error if interval else None,
        verdict=verdict_on(total, p, minimum),
    )


def verdict_on(difference: float, p: float, minimum: float) -> str:
    """What may be said: a claim needs significance and the declared minimum."""
    if p > ALPHA:
        return "not distinguishable"
    if abs(difference) < minimum:
        return f"different, by less than {minimum:g} points"
    return "A is better" if difference > 0 else "B is better"


def _field(record: RunRecord) -> Field:
    return Field(
        record.domain.suite,
        record.episodes.protocol,
        record.episodes.shots,
        record.evaluator.version,
        record.evaluator.precision,
        record.evaluator.image_size,
    )


def _by_column(side: Sequence[Answer], domain: str) -> dict[ColumnKey, list[Answer]]:
    found: dict[ColumnKey, list[Answer]] = {}
    for answer in side:
        if answer.record.domain.title == domain:
            found.setdefault(column_key(answer.record), []).append(answer)
    return found


def _populations(columns: dict[ColumnKey, list[Answer]]) -> str:
    return ", ".join(
        f"{column.profile} {column.fingerprint[:4]}, {column.episodes} episodes"
        for column in sorted(columns)
    )


def _name(one: Answer, other: Answer) -> str:
    """The label, with what tells the two apart where the labels do not."""
    if one.record.method.label != other.record.method.label:
        return one.record.method.label
    return _spoken(row_key(one.record))


def _spoken(row: RowKey) -> str:
    return f"{row.label} on {row.backbone or 'no backbone'}, {row.weights} {row.weights_sha256[:8]}"


def _miou(answer: Answer) -> float:
    assert answer.record.metrics is not None
    return answer.record.metrics.miou


def _sign(ours: int, theirs: int) -> int:
    return (ours > theirs) - (ours < theirs)
