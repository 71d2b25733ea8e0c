"""Carrying out a diagnosis: options checked, numbers measured or reused, files written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdfss_bench.canonical import digest
from cdfss_bench.errors import UserError
from cdfss_bench.options import Value, resolve

from ..planning.selection import Selection
from ..records.code_hash import code_hash
from ..records.environment import command_line, now, packages
from .causes import Cause
from .finding import Finding, Written, write
from .kinds import module_of, options_of
from .subject import EPISODES, Progress, Subject


@dataclass(frozen=True)
class Outcome:
    """What became of one diagnosis: its files, or the sentence that says why it was refused.

    `reused` numbers were at hand from an earlier call.
    """

    kind: str
    written: Written | None
    reused: bool = False
    reason: str = ""
    hint: str | None = None


def causes_of(outcomes: Sequence[Outcome]) -> list[Cause]:
    """What the diagnoses that were carried out offer as causes."""
    return [cause for one in outcomes if one.written for cause in one.written.finding.causes]


def parsed_settings(typed: Sequence[str], kinds: Sequence[str]) -> dict[str, dict[str, Value]]:
    """`KEY=VALUE` for the only kind, or `KIND.KEY=VALUE`, as every kind's resolved options.

    Raises:
        UserError: for an unknown key or an illegal value.
    """
    given: dict[str, dict[str, Value]] = {kind: {} for kind in kinds}
    for text in typed:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text} is not KEY=VALUE")
        kind, dot, name = key.partition(".")
        if not dot and len(kinds) == 1:
            kind, name = kinds[0], key
        if kind not in given:
            raise UserError(
                f"--set {text}: say whose option it is", hint=f"--set {kinds[0]}.KEY=VALUE"
            )
        given[kind][name] = value
    return {kind: resolve(options_of(kind), values, kind) for kind, values in given.items()}


def carried_out(
    kind: str,
    selection: Selection,
    folder: Path,
    *,
    device: str = "cpu",
    options: Mapping[str, Value] | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Outcome:
    """One diagnosis of the selection's first method, written to `folder`.

    Raises:
        UserError: if something is missing, or the kind does not apply to the method.
    """
    module = module_of(kind)
    resolved = resolve(options_of(kind), options or {}, kind)
    subject = Subject(
        selection,
        folder,
        device=device,
        options=resolved,
        usual=getattr(module, "EPISODES", EPISODES),
        progress=progress,
    )
    subject.key = {"kind": kind, "code": code_hash(module.__name__), "options": resolved}
    finding: Finding = module.diagnose(subject)
    provenance = {
        **subject.identity,
        "id": digest(subject.identity),
        "device": device,
        "versions": packages(),
        "command": command_line(),
        "written": now(),
    }
    return Outcome(kind, write(finding, folder, provenance), subject.reused)


def attempted(kind: str, selection: Selection, folder: Path, **asked: Any) -> Outcome:
    """As `carried_out`; where a kind does not apply or lacks something, its reason."""
    try:
        return carried_out(kind, selection, folder, **asked)
    except UserError as error:
        return Outcome(kind, None, reason=error.problem, hint=error.hint)
