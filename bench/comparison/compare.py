"""`compare A B`: paired on the same episodes, or refused."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import RecordError, UserError, unknown
from cdfss_bench.methods.registry.name_grammar import parse

from ..records.results import RunResult
from ..records.schema import RunRecord
from ..statistics.bootstrap import Interval, Resampled, resampled, together
from ..statistics.claims import ALPHA, MINIMUM, NONE, detectable
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .current import by_seed, is_finished, shown, state_of
from .leaderboard import CONTROL, ColumnKey, RowKey, column_key, row_key

MEAN = "mean"
"""Stands for a domain's title where all domains count alike."""


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
        limited: whether they are the first of more.
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two methods on all domains that both were asked.

    Attributes:
        a: name of A.
        b: name of B.
        field: what they share.
        differences: by domain; the mean last where there are several.
        minimum: the declared smallest difference of a claim, in points.
        remarks: what was chosen, and what is not known of the code.
        notes: (name, what its records note by domain) of A and of B.
    """

    a: str
    b: str
    field: Field
    differences: tuple[Difference, ...]
    minimum: float
    remarks: tuple[str, ...] = ()
    notes: tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "a": self.a,
            "b": self.b,
            **self.field._asdict(),
            "minimum": self.minimum,
            "differences": [each.to_json() for each in self.differences],
            "remarks": list(self.remarks),
            "notes": {name: dict(by_domain) for name, by_domain in self.notes},
        }


def chosen(
    found: Sequence[RunResult],
    name: str,
    results: Path,
    wanted: Callable[[RunResult], bool] = lambda _: True,
) -> list[RunResult]:
    """The finished results that a name or the folder of a run means.

    A name means the records that `report` shows, a folder its own record whatever its age.

    Args:
        found: all results under the results folder.
        name: a label as typed or as shown, or a folder.
        results: that folder, for messages.
        wanted: which results may be compared.

    Raises:
        RecordError: if no result has that name, or several rows of a leaderboard do.
    """
    folder = Path(name)
    if (folder / "run.json").is_file():
        path = (folder / "run.json").resolve()
        hit = [a for a in found if is_finished(a.record) and a.path.resolve() == path]
        if not hit:
            raise RecordError(f"{folder} is not a finished run under {results}")
        return hit
    done = [answer for answer in shown(found) if wanted(answer)]
    hit = [a for a in done if a.record.name == name]
    hit = hit or [a for a in done if a.record.method.label == name]
    hit = hit or [a for a in done if a.record.method.composition == _composition(name)]
    if not hit:
        raise unknown(
            "or unfinished method", name, {a.record.method.label for a in done}, error=RecordError
        )
    rows = {row_key(a.record, {a.record.method.composition: name}) for a in hit}
    if len(rows) > 1:
        raise RecordError(
            f"'{name}' stands for {len(rows)} rows: {'; '.join(sorted(map(_spoken, rows)))}",
            hint=f"narrow it with --backbone, or name a run's folder: {hit[0].path.parent}",
        )
    return hit


def _composition(name: str) -> str:
    try:
        return str(parse(name))
    except UserError:
        return ""


def compare(
    a: Sequence[RunResult],
    b: Sequence[RunResult],
    *,
    minimum: float = MINIMUM,
    resamples: int = 10_000,
) -> list[Comparison]:
    """Every comparison that the results of two methods allow.

    Raises:
        RecordError: if they share no domain, or were not asked the same episodes.
    """
    fields = sorted({_field(x.record) for x in a} & {_field(x.record) for x in b})
    comparisons: list[Comparison] = []
    for field in fields:
        ours, theirs = ([x for x in side if _field(x.record) == field] for side in (a, b))
        pairs, remarks = _paired(ours, theirs)
        if pairs:
            names = (_name(ours[0], theirs[0]), _name(theirs[0], ours[0]))
            compared = _compared(pairs, minimum, resamples)
            remarks += _of_unknown_code(pairs)
            notes = [(name, _noted(pairs, side)) for side, name in enumerate(names)]
            comparisons.append(
                Comparison(*names, field, compared, minimum, tuple(remarks), tuple(notes))
            )
    if not comparisons:
        raise RecordError(
            "the two have no domain, shots, protocol and seed in common",
            hint="run both with the same -d, -k, --seed and --protocol",
        )
    return comparisons


Pairs = dict[ColumnKey, list[tuple[int, RunResult, RunResult]]]


def _paired(a: Sequence[RunResult], b: Sequence[RunResult]) -> tuple[Pairs, list[str]]:
    """Results on the same episodes, one column a domain, and what was left out for it."""
    pairs: Pairs = {}
    remarks: list[str] = []
    domains = sorted({x.record.domain.title for x in a} & {x.record.domain.title for x in b})
    for domain in domains:
        ours, theirs = (_by_column(side, domain) for side in (a, b))
        common = {
            column: seeds
            for column in sorted(ours.keys() & theirs.keys())
            if (seeds := sorted(ours[column].keys() & theirs[column].keys()))
        }
        if not ours.keys() & theirs.keys():
            raise RecordError(
                f"{domain}: the two saw different data or numbers of episodes "
                f"({_populations(ours)} and {_populations(theirs)})",
                hint="run both on the same data, with the same --episodes",
            )
        if not common:
            continue
        column = max(common, key=lambda c: _weight(c, [*ours[c].values(), *theirs[c].values()]))
        for seed in common[column]:
            _same_questions(ours[column][seed], theirs[column][seed])
            pairs.setdefault(column, []).append((seed, ours[column][seed], theirs[column][seed]))
        if len(common) > 1:
            remarks.append(_left_out(column, [c for c in common if c != column]))
    return pairs, remarks


def _weight(column: ColumnKey, found: Sequence[RunResult]) -> tuple[bool, bool, bool, int]:
    """Of several columns of a domain the whole protocol on whole data comes first, then length."""
    is_whole = all(answer.record.domain.complete for answer in found)
    is_fresh = all(state_of(answer.record) != "stale" for answer in found)
    return not column.limited, is_whole, is_fresh, column.episodes


def _left_out(column: ColumnKey, others: Sequence[ColumnKey]) -> str:
    """What both answered too, and is not compared: a domain counts once."""
    lengths = sorted({c.episodes for c in others if c.episodes != column.episodes})
    told = [f"with {' and '.join(map(str, lengths))}"] if lengths else []
    if any(c.fingerprint != column.fingerprint or c.profile != column.profile for c in others):
        told.append("on other data")
    which = f"the first {column.episodes}" if column.limited else f"all {column.episodes}"
    return (
        f"{column.domain}: {which} episodes, the longest that both answered; "
        f"both also answered {', '.join(told)}: not compared, a domain counts once"
    )


def _of_unknown_code(pairs: Pairs) -> list[str]:
    """A sentence for every method of which it cannot be told whether its records are current."""
    labels = {
        answer.record.method.label
        for cells in pairs.values()
        for _, *two in cells
        for answer in two
        if state_of(answer.record) == "unknown"
    }
    return [
        f"code of {label} is not here, so it cannot be told whether it is current "
        "(--plugin FOLDER names it)"
        for label in sorted(labels)
    ]


def _noted(pairs: Pairs, side: int) -> dict[str, tuple[str, ...]]:
    """What the records of A (0) or B (1) note, by domain."""
    return {
        column.domain: tuple(
            dict.fromkeys(note for _, *two in cells for note in two[side].record.notes)
        )
        for column, cells in pairs.items()
    }


def _same_questions(a: RunResult, b: RunResult) -> None:
    if a.record.episodes.sha256 == b.record.episodes.sha256:
        return
    labels = {a.record.method.label, b.record.method.label}
    is_control = any(f"{label}{CONTROL}" in labels for label in labels)
    if is_control and a.asked == b.asked:
        return  # a control is shown other supports on purpose; its queries are the same
    raise RecordError(
        f"{a.record.domain.title}, seed {a.record.episodes.seed}: the two were asked different "
        f"episodes ({a.record.episodes.sha256[:8]} and {b.record.episodes.sha256[:8]})",
        hint="run both with this version; episodes of another sampler are never paired",
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


def _field(record: RunRecord) -> Field:
    return Field(
        record.domain.suite,
        record.episodes.protocol,
        record.episodes.shots,
        record.evaluator.version,
        record.evaluator.precision,
        record.evaluator.image_size,
    )


def _by_column(side: Sequence[RunResult], domain: str) -> dict[ColumnKey, dict[int, RunResult]]:
    """The results on a domain by column and seed."""
    found: dict[ColumnKey, list[RunResult]] = {}
    for answer in side:
        if answer.record.domain.title == domain:
            found.setdefault(column_key(answer.record), []).append(answer)
    return {column: by_seed(answers) for column, answers in found.items()}


def _populations(columns: Mapping[ColumnKey, object]) -> str:
    return ", ".join(
        f"{column.profile} {column.fingerprint[:4]}, {column.episodes} episodes"
        for column in sorted(columns)
    )


def _name(one: RunResult, other: RunResult) -> str:
    """The label, with what tells the two apart where the labels do not."""
    if one.record.name != other.record.name:
        return one.record.name
    return _spoken(row_key(one.record))


def _spoken(row: RowKey) -> str:
    return f"{row.label} on {row.backbone or 'no backbone'}, {row.weights} {row.weights_sha256[:8]}"


def _miou(answer: RunResult) -> float:
    assert answer.record.metrics is not None
    return answer.record.metrics.miou


def _sign(ours: int, theirs: int) -> int:
    return (ours > theirs) - (ours < theirs)
