"""Which records may go, and why."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdfss_bench.errors import unknown

from ..records.removal import is_running, size_of
from ..records.results import RunResult
from ..records.schema import RunRecord
from .compare import has_version, named, split_version
from .current import chosen, is_finished, state_of
from .keys import fits_pattern

KINDS = ("stale", "refused", "interrupted", "failed")
USUAL = KINDS[:3]
"""What `runs prune` removes unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Removable:
    """A record that may go.

    Attributes:
        folder: of its cell.
        name: of the record, for people.
        reason: why it may go.
        size: of its files in bytes.
    """

    folder: Path
    name: str
    reason: str
    size: int


def prunable(found: Sequence[RunResult], kinds: Collection[str] = ()) -> list[Removable]:
    """The records of some kinds on which no process works.

    Args:
        found: all results under a results folder.
        kinds: of `KINDS`; by default `USUAL`.

    Raises:
        UserError: for an unknown kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of record", kind, KINDS)
    shown = {id(one.record) for one in chosen(result.record for result in found).shown}
    removable: list[Removable] = []
    for result in found:
        kind, reason = _kind(result.record, is_shown=id(result.record) in shown)
        if kind in (kinds or USUAL) and not is_running(result.path.parent):
            removable.append(removable_of(result.path.parent, result.record, reason))
    return removable


def meant(found: Sequence[RunResult], which: str, what: str = "run") -> list[RunResult]:
    """The results that a name, a pattern, `NAME:HASH`, the id of a cell or its folder means.

    Args:
        found: all results under a results folder.
        which: as typed.
        what: it is called in the message.

    Raises:
        UserError: if it means none.
    """
    folder = Path(which).resolve()
    label, version = split_version(which)
    is_id = re.fullmatch(r"[0-9a-f]{6,64}", which) is not None
    ways = (
        lambda: [a for a in found if a.path.parent.resolve() == folder],
        lambda: [a for a in named(found, label) if version and has_version(a.record, version)],
        lambda: named(found, which),
        lambda: [a for a in found if is_id and a.record.cell.startswith(which)],
        lambda: [a for a in found if fits_pattern(a.record, which)],
    )
    for way in ways:
        if hit := way():
            return hit
    raise unknown(what, which, {a.record.method.label for a in found})


def removable_of(folder: Path, record: RunRecord, reason: str) -> Removable:
    """A record as one that goes for `reason`."""
    episodes = record.episodes
    name = f"{record.name} · {record.domain.title} · {episodes.shots}-shot · seed {episodes.seed}"
    if episodes.limited:
        name += f" · first {episodes.count} episodes"
    return Removable(folder, name, reason, size_of(folder))


def _kind(record: RunRecord, *, is_shown: bool) -> tuple[str, str]:
    if is_finished(record):
        if state_of(record) != "stale":
            return "", ""
        rest = "the only result of its cell" if is_shown else "another is shown in its place"
        return "stale", f"stale: computed by older code, {rest}"
    if record.status == "started":
        return "interrupted", "interrupted: it was begun, and no process works on it"
    return record.status, f"{record.status}: {record.reason}"
