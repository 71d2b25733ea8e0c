"""Which results of two methods are compared: those on the same episodes, a domain once."""

from collections.abc import Mapping, Sequence

from cdfss_bench.errors import RecordError

from ..records.results import RunResult
from .current import by_seed, state_of
from .keys import ColumnKey, column_key
from .rows import CONTROL, Score

Pairs = dict[ColumnKey, list[tuple[int, RunResult, RunResult]]]
"""(seed, result of A, result of B) by column."""


def paired(a: Sequence[RunResult], b: Sequence[RunResult]) -> tuple[Pairs, list[str]]:
    """Results on the same episodes, one column a domain, and what was left out for it.

    Args:
        a: results of one method.
        b: of the other.

    Raises:
        RecordError: if they saw other data or other episodes of a domain.
    """
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


def of_same_seeds(
    ours: Score, theirs: Score, by_cell: Mapping[str, RunResult]
) -> list[tuple[RunResult, RunResult]]:
    """The results behind two scores, by the seeds that both have."""
    return [
        (by_cell[ours.cells[seed]], by_cell[theirs.cells[seed]])
        for seed in sorted(ours.cells.keys() & theirs.cells.keys())
    ]


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
