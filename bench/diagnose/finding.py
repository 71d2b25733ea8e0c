"""What a diagnosis found: numbers, figures, and three sentences that say what they show."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically

from .causes import Cause
from .drawing import Draw, can_draw, rendered
from .frames import Frame

SCHEMA = 1


class NotApplicable(UserError):
    """A kind has nothing to measure on this method; `diagnose all` names the reason."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one diagnosis of the method with that label.

    `figures` draw on an empty matplotlib figure; `captions` say what they draw. `sentences` say
    what the figures show, with uncertainty. `causes` are those that the numbers speak for.
    """

    kind: str
    method: str
    tables: Mapping[str, Frame]
    figures: Mapping[str, Draw]
    sentences: tuple[str, str, str]
    captions: Mapping[str, str] = field(default_factory=dict[str, str])
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True)
class Written:
    """The files of a finding: KIND.json, a CSV per table, PNG and SVG per figure.

    There are no figures where matplotlib is absent.
    """

    finding: Finding
    record: Path
    tables: Mapping[str, Path]
    figures: Mapping[str, tuple[Path, Path]]


def write(finding: Finding, folder: Path, provenance: Mapping[str, Any] | None = None) -> Written:
    """Writes KIND.json, KIND-TABLE.csv and KIND-FIGURE.png/.svg.

    Raises:
        UserError: if a file cannot be written.
    """
    record = {
        "schema": SCHEMA,
        "kind": finding.kind,
        "method": finding.method,
        "sentences": list(finding.sentences),
        "causes": [_cause(cause) for cause in finding.causes],
        "figures": {name: finding.captions.get(name, "") for name in finding.figures},
        "tables": {name: _rows(table) for name, table in finding.tables.items()},
        "provenance": dict(provenance or {}),
    }
    path = folder / f"{finding.kind}.json"
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    tables: dict[str, Path] = {}
    for name, table in finding.tables.items():
        tables[name] = folder / f"{finding.kind}-{name}.csv"
        write_atomically(tables[name], table.to_csv(index=False, lineterminator="\n"))
    figures: dict[str, tuple[Path, Path]] = {}
    for name, draw in finding.figures.items() if can_draw() else ():
        figures[name] = (
            folder / f"{finding.kind}-{name}.png",
            folder / f"{finding.kind}-{name}.svg",
        )
        for file, content in zip(figures[name], rendered(draw), strict=True):
            write_atomically(file, content)
    return Written(finding, path, tables, figures)


def _cause(cause: Cause) -> dict[str, Any]:
    size = {key: _plain(value) for key, value in cause.size.columns("size").items()}
    return {"name": cause.name, **size, "unit": cause.unit, "where": cause.where}


def _rows(table: Frame) -> list[dict[str, Any]]:
    """Rows of plain values; what is not a number is null."""
    found: list[dict[str, Any]] = table.astype(object).to_dict("records")
    return [{key: _plain(value) for key, value in row.items()} for row in found]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
