"""The regression gate: what a fixed selection gave once, and whether it still does.

Parameters and operations must not grow. mIoU may fall by what another processor's rounding can do
(`TOLERANCE`). What got better is told and is no regression. Time is compared as a multiple of a
reference workload timed in the same process, and only a factor is a finding: a wall-clock gate on
shared machines is below their noise.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cdfss_bench import plain_json
from cdfss_bench.cards import validated
from cdfss_bench.errors import RecordError
from cdfss_bench.files import write_atomically
from cdfss_bench.words import plural

from ..planning.selection import Selection
from ..records.schema import Count, Percent, Size

SCHEMA = 1

_Total = Annotated[Count, Field(lt=2**63)]
"""Parameters or operations: what a float can be made of."""

TOLERANCE = 0.05
"""Points of mIoU. With the kernels of other processors (SSE4.1 and AVX2 in place of AVX-512) none
of the 48 cells of the committed baseline moved at all (docs/protocol.md, "The gate"); the rest is
room for processors that could not be tried."""

SLOWER = 3.0
"""Factor of time, in units of the reference workload, at which the tripwire goes."""

SLACK = 0.5
"""Reference workloads below which a difference of time is no finding, whatever its factor."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class GateCell(_Part):
    """One cell of the fixed selection, with mIoU in percent and the time of an episode.

    `weights_sha256` are of the backbone's file and of the checkpoint; `flops` and `fft` (None in
    older baselines) of a whole episode; `time` is in reference workloads.
    """

    method: str
    composition: str
    backbone: str
    domain: str
    shots: Count
    seed: Count
    protocol: str
    episodes: Annotated[Count, Field(ge=1)]
    episodes_sha256: str
    fingerprint: str
    weights_sha256: tuple[str, str]
    evaluator: Count
    miou: Percent
    params: _Total
    flops: _Total
    fft: _Total | None = None
    time: Size

    @property
    def name(self) -> str:
        """`ssp · mini-lesion · 1-shot · seed 0`."""
        return f"{self.method} · {self.domain} · {self.shots}-shot · seed {self.seed}"


class Baseline(_Part):
    """A baseline file.

    `selection` is in the words of a plan file, with domains as the cells name them; `opens` says
    what opens those of own data that were given a name or an absolute path.
    """

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    selection: dict[str, Any]
    opens: dict[str, str] = {}
    environment: dict[str, Any] = {}
    cells: list[GateCell] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_each_cell_once(self) -> Baseline:
        names = [cell.name for cell in self.cells]
        if len(set(names)) < len(names):
            raise ValueError(f"{next(n for n in names if names.count(n) > 1)} is there twice")
        return self

    @property
    def asked(self) -> dict[str, Any]:
        """The selection, with domains as they are opened."""
        named = self.selection.get("domains")
        if not named:
            return self.selection
        return {**self.selection, "domains": [self.opens.get(name, name) for name in named]}

    def save(self, path: Path) -> None:
        """Writes the baseline, whole or not at all.

        Raises:
            UserError: if the file cannot be written.
        """
        values = self.model_dump(
            mode="json", by_alias=True, exclude=None if self.opens else {"opens"}
        )
        write_atomically(path, plain_json.dumps(values) + "\n")


def read_baseline(path: Path) -> Baseline:
    """The baseline in `path`.

    Raises:
        RecordError: if there is none, or it is damaged.
    """
    hint = f"cdfss-bench check --baseline {shlex.quote(str(path))} --update -m METHOD"
    if not path.is_file():
        raise RecordError(f"there is no baseline {path}", hint=hint)
    try:
        # Editors on Windows begin a file with a mark.
        values: object = plain_json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(values, dict):
            raise ValueError("it holds no object of JSON")
        baseline = Baseline.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        said = f"'{key}': {first['msg'].lower()}"
        raise RecordError(f"{path} is not a readable baseline ({said})", hint=hint) from error
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{path} is not a readable baseline (it is no UTF-8 text)", hint=hint
        ) from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not a readable baseline ({error})", hint=hint) from error
    lacking = _lacking(baseline, path)
    if lacking:
        count = f"{len(lacking)} {plural(len(lacking), 'cell')}"
        raise RecordError(
            f"{path} lacks {count} of its own selection, such as {lacking[0]}",
            hint=hint,
        )
    return baseline


_PLACES = ("data_root", "lists", "weights", "weights_dirs")
"""Of a selection: where files are, which options of the command say too."""


def _lacking(baseline: Baseline, path: Path) -> list[str]:
    """Names of cells that the selection asks for and the file does not hold.

    Raises:
        UserError: if the selection of the file is none.
    """
    there = {(cell.method, cell.domain, cell.shots, cell.seed) for cell in baseline.cells}
    usual = {
        "methods": {method for method, *_ in there},
        "domains": {domain for _, domain, *_ in there},
        "shots": {shots for *_, shots, _ in there},
        "seeds": {seed for *_, seed in there},
    }
    given = {
        key: value
        for key, value in baseline.selection.items()
        if key not in _PLACES and value not in (None, [])
    }
    chosen = validated(Selection, {"methods": [*usual["methods"]], **given}, f"{path}, selection")
    asked = (
        getattr(chosen, key) if key in given else sorted(values) for key, values in usual.items()
    )
    return [
        f"{method} · {domain} · {shots}-shot · seed {seed}"
        for method, domain, shots, seed in product(*asked)
        if (method, domain, shots, seed) not in there
    ]


class Finding(NamedTuple):
    """One quantity of one cell, such as `mIoU`, `FLOPs` or `weights`, in the baseline and now.

    A `regression` is exit code 1, what is `not comparable` is 2.
    """

    cell: str
    what: str
    before: str
    now: str
    verdict: Literal["fine", "changed (better)", "regression", "not comparable"]


def compared(before: Sequence[GateCell], now: Sequence[GateCell]) -> list[Finding]:
    """Every quantity of every cell, baseline against measurement."""
    measured = {cell.name: cell for cell in now}
    findings: list[Finding] = []
    for old in before:
        new = measured.pop(old.name, None)
        if new is None:
            findings.append(Finding(old.name, "the cell", "there", "missing", "not comparable"))
        else:
            findings += _of_cell(old, new)
    findings += [
        Finding(name, "the cell", "missing", "there", "not comparable") for name in measured
    ]
    return findings


def exit_code(findings: Sequence[Finding], *, strict: bool = False) -> int:
    """0: nothing is worse. 1: a regression. 2: no regression, but something is not comparable."""
    verdicts = {finding.verdict for finding in findings}
    if "regression" in verdicts or (strict and "changed (better)" in verdicts):
        return 1
    return 2 if "not comparable" in verdicts or not findings else 0


def verdict_on(findings: Sequence[Finding], *, strict: bool = False) -> str:
    """The verdict on all cells in one or two words."""
    if exit_code(findings) == 0 and exit_code(findings, strict=strict) == 1:
        return "changed (better)"
    return ("no regression", "regression", "not comparable")[exit_code(findings)]


def _of_cell(old: GateCell, new: GateCell) -> list[Finding]:
    name = old.name
    strange = [
        Finding(name, what, str(was)[:12], str(is_now)[:12], "not comparable")
        for what, was, is_now in (
            ("composition", old.composition, new.composition),
            ("backbone", old.backbone, new.backbone),
            ("protocol", old.protocol, new.protocol),
            ("number of episodes", old.episodes, new.episodes),
            ("episodes", old.episodes_sha256, new.episodes_sha256),
            ("data", old.fingerprint, new.fingerprint),
            ("weights", " ".join(w[:5] for w in old.weights_sha256),
             " ".join(w[:5] for w in new.weights_sha256)),
            ("evaluator", old.evaluator, new.evaluator),
        )
        if was != is_now
    ]  # fmt: skip
    if strange:
        return strange
    figures: list[tuple[str, float, float, str, float, float]] = [
        # A lower mIoU is worse; of all others a higher value is.
        ("mIoU", -old.miou, -new.miou, ".3f", 1.0, TOLERANCE),
        ("parameters", old.params, new.params, ",", 1.0, 0),
        ("FLOPs", old.flops, new.flops, ",", 1.0, 0),
        ("time", old.time, new.time, ".2f", SLOWER, SLACK),
    ]
    if old.fft is not None and (old.fft or new.fft):
        figures.append(("FFT", old.fft, new.fft or 0, ",", 1.0, 0))
    return [
        Finding(name, what, f"{abs(was):{form}}", f"{abs(now):{form}}", _verdict(was, now, *limits))
        for what, was, now, form, *limits in figures
    ]


def _verdict(
    was: float, now: float, factor: float, slack: float
) -> Literal["fine", "changed (better)", "regression"]:
    """Of a figure that is better when it is smaller."""
    # Said so that what is no number is never fine.
    if not now <= _most(was, factor, slack):
        return "regression"
    return "fine" if was <= _most(now, factor, slack) else "changed (better)"


def _most(value: float, factor: float, slack: float) -> float:
    """What may be measured in place of `value` without being another."""
    return max(factor * value, value + slack)


def markdown(findings: Sequence[Finding], *, strict: bool = False) -> str:
    """What a pull request shows: the verdict, what is not fine, and what was looked at."""
    wrong = [finding for finding in findings if finding.verdict != "fine"]
    cells = len({finding.cell for finding in findings})
    better = sum(finding.verdict == "changed (better)" for finding in findings)
    head = f"**{verdict_on(findings, strict=strict).capitalize()}**"
    if exit_code(findings) == 0:
        head += f": {len(findings) - better} figures of {cells} cells are as in the baseline"
        head += f", {better} changed (better)." if better else "."
    lines = ["### cdfss-bench check", "", head, ""]
    if wrong:
        lines += ["| cell | what | baseline | now | verdict |", "|---|---|---:|---:|---|"]
        lines += [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in f)} |" for f in wrong
        ]
        lines.append("")
    lines.append(
        f"mIoU at most {TOLERANCE} points lower, parameters and FLOPs no more, time (in reference "
        f"workloads of the same process) below {SLOWER:g} times the baseline's. A change that is "
        "meant: the same command with `--update`."
    )
    return "\n".join(lines) + "\n"
