"""Which record is shown of a row, a column and a seed: the newest of the installed code.

Every consumer (leaderboards, `compare`, the page, the
exports) asks `chosen`, so that none of them can show another record than the others.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.name_grammar import parse

from ..planning.hashes import evaluator_code, method_code, named_reader_code
from ..records.results import RunResult
from ..records.schema import RunRecord
from .keys import BoardKey, ColumnKey, RowKey, board_key, column_key, row_key, version_of

State = Literal["current", "unknown", "stale"]
"""Of the code that computed a record: the installed one; that of a method which is not installed
here; an older one."""
STALE = "†"
"""Stands behind a number that older code computed."""
STALE_LEGEND = f"{STALE} computed by older code, ranked with nobody; run again to renew"


class Chosen(NamedTuple):
    """A record that is shown, and the state of its code."""

    record: RunRecord
    state: State


@dataclass(frozen=True)
class Choice:
    """What is shown of a number of records.

    Attributes:
        shown: one finished record per row, column and seed, the oldest first.
        left_out: finished records in whose place another is shown.
    """

    shown: tuple[Chosen, ...]
    left_out: tuple[Chosen, ...]


def is_finished(record: RunRecord) -> bool:
    """Whether a record has a number."""
    return record.status == "done" and record.metrics is not None


Found: TypeAlias = "Sequence[RunResult] | dict[str, RunResult]"
"""All results, or those that leaderboards show, as `by_cell` gives them."""


def chosen(records: Iterable[RunRecord]) -> Choice:
    """The finished records that are shown, and those that are not.

    A number of older code is shown where the installed code gave none on data of the same name.
    All seeds of one number are of one code: the installed code where any seed has it, else the
    code of the newest record. Of several records of that code the newest is shown for a seed. The
    masks of an external program are its code only in name: each cell has others.
    """
    numbers: dict[tuple[BoardKey, RowKey, ColumnKey], list[Chosen]] = {}
    state = states()
    for record in records:
        if is_finished(record):
            # The words for the same weights may differ between versions.
            row = row_key(record)._replace(weights="", label=record.method.composition)
            key = board_key(record), row, column_key(record)
            numbers.setdefault(key, []).append(Chosen(record, state(record)))
    # Another version may hash the same files otherwise: the fingerprint keeps no old number alive.
    renewed = {
        (board, row, column._replace(fingerprint=""))
        for (board, row, column), found in numbers.items()
        if any(one.state != "stale" for one in found)
    }
    shown: list[Chosen] = []
    left_out: list[Chosen] = []
    for (board, row, column), found in numbers.items():
        again = (board, row, column._replace(fingerprint="")) in renewed
        if again and all(one.state == "stale" for one in found):
            left_out += found
            continue
        newest = max(found, key=lambda one: (_ORDER[one.state], *_age(one)))
        taken: dict[int, Chosen] = {}
        for one in sorted(found, key=_age):
            if _code(one.record) == _code(newest.record):
                taken[one.record.episodes.seed] = one
        kept = {id(one) for one in taken.values()}
        shown += taken.values()
        left_out += [one for one in found if id(one) not in kept]
    return Choice(tuple(sorted(shown, key=_age)), tuple(left_out))


def shown(found: Iterable[RunResult], choice: Choice | None = None) -> list[RunResult]:
    """The results that are shown, one per row, column and seed.

    Args:
        found: of all cells.
        choice: `chosen` of their records, where it is at hand.
    """
    known = list(found)
    choice = choice or chosen(answer.record for answer in known)
    kept = {id(one.record) for one in choice.shown}
    return [answer for answer in known if id(answer.record) in kept]


def latest_versions(found: Sequence[RunResult]) -> list[RunResult]:
    """Without finished results of a method and backbone of which another version is newer."""
    newest: dict[tuple[str, str], str] = {}
    finished = [answer.record for answer in found if is_finished(answer.record)]
    for record in sorted(finished, key=lambda record: (record.finished, record.cell)):
        newest[record.method.composition, record.method.backbone] = version_of(record)
    return [
        answer
        for answer in found
        if not is_finished(record := answer.record)
        or newest[record.method.composition, record.method.backbone] == version_of(record)
    ]


def by_cell(found: Found, choice: Choice | None = None) -> dict[str, RunResult]:
    """The results that leaderboards show (`shown`), by the id of their cell.

    Args:
        found: all results, or what this function gave before, which is given again.
        choice: `chosen` of their records, where it is at hand.
    """
    if isinstance(found, dict):
        return found
    return {answer.record.cell: answer for answer in shown(found, choice)}


def by_seed(found: Sequence[RunResult]) -> dict[int, RunResult]:
    """One result per seed; of several, the one finished last."""
    ordered = sorted(found, key=lambda answer: (answer.record.finished, answer.record.cell))
    return {answer.record.episodes.seed: answer for answer in ordered}


def state_of(record: RunRecord) -> State:
    """Whether the installed code is the one that computed a record."""
    if record.evaluator.code != evaluator_code():
        return "stale"
    if record.method.external:
        return "current"  # its pixels are files, which no code of ours changes
    try:
        installed = (
            method_code(parse(record.method.composition), record.method.backbone),
            # Older records do not say which reader they used.
            named_reader_code(record.domain.name) if record.domain.reader else "",
        )
    except (UserError, OSError, SyntaxError, ValueError):  # a plug-in may be gone or broken
        return "unknown"
    return "current" if installed == (record.method.code, record.domain.reader) else "stale"


def unknown_code(labels: Iterable[str]) -> list[str]:
    """A sentence for each method of which it cannot be told whether its records are current."""
    return [
        f"code of {label} is not here, so it cannot be told whether it is current "
        "(--plugin FOLDER names it)"
        for label in sorted(set(labels))
    ]


def states() -> Callable[[RunRecord], State]:
    """`state_of` for many records: those of one code are looked up once."""
    known: dict[tuple[object, ...], State] = {}

    def state(record: RunRecord) -> State:
        method, domain = record.method, record.domain
        code = (method.composition, method.backbone, method.code, method.external)
        same = (*code, domain.name, domain.reader, record.evaluator.code)
        if same not in known:
            known[same] = state_of(record)
        return known[same]

    return state


_ORDER: dict[State, int] = {"stale": 0, "unknown": 1, "current": 2}


def _age(one: Chosen) -> tuple[str, str]:
    return one.record.finished, one.record.cell


def _code(record: RunRecord) -> tuple[str, str, str]:
    method = "" if record.method.external else record.method.code
    return record.evaluator.code, method, record.domain.reader
