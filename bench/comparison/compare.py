"""`compare A B`: paired on the same episodes, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cdfss_bench.errors import RecordError, UserError, unknown
from cdfss_bench.methods.registry.name_grammar import parse

from ..records.results import RunResult
from ..records.schema import RunRecord
from ..statistics.claims import MINIMUM
from .current import is_finished, shown, state_of
from .difference import Difference, differences_of
from .keys import RowKey, board_key, row_key
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
        pairs, remarks = paired(ours, theirs)
        if pairs:
            names = (_name(ours[0], theirs[0]), _name(theirs[0], ours[0]))
            compared = differences_of(pairs, minimum, resamples)
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


def _field(record: RunRecord) -> Field:
    return Field(*board_key(record), record.evaluator.image_size)


def _name(one: RunResult, other: RunResult) -> str:
    """The label, with what tells the two apart where the labels do not."""
    if one.record.name != other.record.name:
        return one.record.name
    return _spoken(row_key(one.record))


def _spoken(row: RowKey) -> str:
    return f"{row.label} on {row.backbone or 'no backbone'}, {row.weights} {row.weights_sha256[:8]}"
