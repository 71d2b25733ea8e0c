"""`compare A B`: paired on the same episodes, or refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cdfss_bench.errors import RecordError, UserError, unknown
from cdfss_bench.methods.registry.name_grammar import parse

from ..records.results import RunResult
from ..records.schema import RunRecord
from ..statistics.claims import MINIMUM
from .current import is_finished, shown, state_of, unknown_code
from .difference import Difference, differences_of
from .keys import board_key, row_key, version_of, with_version
from .pairing import Pairs, paired


class Field(NamedTuple):
    """What both methods must share to be compared at all."""

    suite: str
    protocol: str
    shots: int
    evaluator: int
    precision: str
    image_size: int


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
    *,
    latest: bool = False,
) -> list[RunResult]:
    """The finished results that a name or the folder of a run means.

    A name means the records that `report` shows; `NAME:HASH` those of that version or cell and a
    folder its own record, whatever their age.

    Args:
        found: all results under the results folder.
        name: a label as typed or as shown, `NAME:HASH`, or a folder.
        results: that folder, for messages.
        wanted: which results may be compared.
        latest: whether of several versions of a name the one that finished last is meant.

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
    done = [a for a in found if is_finished(a.record) and wanted(a)]
    label, version = split_version(name)
    if version:
        hit = [a for a in named(done, label) if has_version(a.record, version)]
    elif latest and (hit := named(done, name)):
        newest = max(hit, key=lambda a: (a.record.finished, a.record.cell))
        hit = [a for a in hit if version_of(a.record) == version_of(newest.record)]
    else:
        # What is shown is decided among all results: a filter brings no older one to light.
        hit = named([a for a in shown(found) if wanted(a)], name)
    if not hit:
        known = {answer.record.method.label for answer in done}
        versions = _versions(named(done, label))
        if version and versions:
            raise unknown(f"version of {label}:", version, versions, error=RecordError)
        raise unknown("or unfinished method", label, known, error=RecordError)
    rows = {row_key(a.record, {a.record.method.composition: label}) for a in hit}
    if len(rows) > 1:
        versions = _versions(hit)
        raise RecordError(
            f"'{name}' stands for {len(rows)} rows: {'; '.join(versions.values())}",
            hint=f"name one, such as {label}:{next(iter(versions))}, take the latest with "
            "--latest, or narrow it with --backbone",
        )
    return hit


def named(found: Sequence[RunResult], name: str) -> list[RunResult]:
    """The results whose shown name, label or composition a name is, in this order of preference."""
    hit = [a for a in found if a.record.name == name]
    hit = hit or [a for a in found if a.record.method.label == name]
    return hit or [a for a in found if a.record.method.composition == _composition(name)]


def split_version(name: str) -> tuple[str, str]:
    """`NAME:HASH` apart; an empty hash where there is none.

    A row's note may stand behind it, as in `ssp:1a2b3c4 (not source-trained)`.
    """
    match = re.fullmatch(r"(.+):([0-9a-f]{4,64})( \(.+\))?", name, re.IGNORECASE)
    return (f"{match[1]}{match[3] or ''}", match[2].lower()) if match else (name, "")


def has_version(record: RunRecord, version: str) -> bool:
    """Whether `version` begins a record's version or the id of its cell."""
    return version_of(record).startswith(version) or record.cell.startswith(version)


def _versions(found: Sequence[RunResult]) -> dict[str, str]:
    """What tells the versions among some results apart, the latest first."""
    oldest_first = sorted(found, key=lambda a: (a.record.finished, a.record.cell))
    told = {version_of(a.record): spoken(a.record) for a in oldest_first}
    return dict(reversed(told.items()))


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
        pairs, remarks = paired(ours, theirs)
        if pairs:
            names = (_name(ours[0], theirs[0]), _name(theirs[0], ours[0]))
            compared = differences_of(pairs, minimum, resamples)
            if ours[0].record.name == theirs[0].record.name != names[0]:
                remarks += [spoken(side[0].record) for side in (ours, theirs)]
            asked = [one.record for cells in pairs.values() for _, *two in cells for one in two]
            unknown_ones = [record for record in asked if state_of(record) == "unknown"]
            remarks += unknown_code(record.method.label for record in unknown_ones)
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


def _noted(pairs: Pairs, side: int) -> dict[str, tuple[str, ...]]:
    """What the records of A (0) or B (1) note, by domain."""
    return {
        column.domain: tuple(
            dict.fromkeys(note for _, *two in cells for note in two[side].record.notes)
        )
        for column, cells in pairs.items()
    }


def _field(record: RunRecord) -> Field:
    return Field(*board_key(record), record.evaluator.image_size)


def _name(one: RunResult, other: RunResult) -> str:
    """The label, with the backbone or the version where the labels are the same."""
    record = one.record
    if record.name == other.record.name and record.method.backbone != other.record.method.backbone:
        return f"{record.name} on {record.method.backbone or 'no backbone'}"
    if record.name != other.record.name or version_of(record) == version_of(other.record):
        return record.name
    return with_version(record.name, record.method.label, version_of(record))


def spoken(record: RunRecord) -> str:
    """`NAME:HASH` with what it is of: backbone, weights, and when it was finished."""
    name = with_version(record.name, record.method.label, version_of(record))
    finished = record.finished[:16].replace("T", " ")
    told = [record.method.backbone, record.weights.description, finished]
    return f"{name} ({', '.join(filter(None, told))})"
