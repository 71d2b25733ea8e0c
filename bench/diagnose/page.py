"""Every finding of one method on one self-contained page: no network, no scripts."""

import base64
import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdfss_bench import __version__, plain_json

from ..planning.selection import Selection
from ..records.environment import command_line, now
from ..reporting.html.rendering import render
from .causes import verdict
from .drawing import DPI, MISSING
from .finding import Written
from .frames import Frame
from .running import Outcome, causes_of

MOST_ROWS = 60
"""Rows of a table that stand on the page; the CSV file beside it has all."""

LARGEST_SVG = 600_000
"""Bytes beyond which the PNG is embedded instead."""

HALF_PAGE = 7.2
"""Inches."""

TITLES = {
    "curve": "Target mIoU over source training",
    "features": "Activation of each stage",
    "sharpness": "Noise in features and weights",
    "freeze": "Frozen against trained shallow stages",
    "cka": "Similarity of source and target features",
    "frequency": "Amplitude, phase, and channels",
    "lcm": "Low-level calibration and its anchors",
    "layers": "Layers of the backbone",
}


def as_html(method: str, selection: Selection, outcomes: Sequence[Outcome]) -> str:
    """The page."""
    return render(
        "diagnosis.html.j2",
        method=method,
        asked=_asked(selection),
        version=__version__,
        now=now(),
        command=command_line(),
        verdict=verdict(causes_of(outcomes)),
        sections=[_section(o, o.written) for o in outcomes if o.written is not None],
        refused=[(TITLES[o.kind], o) for o in outcomes if o.written is None],
    )


def _asked(selection: Selection) -> str:
    suite = {
        "mini": "the procedural mini suite",
        "cdfss": "the real targets",
        "extended": "the further targets of 2025-26",
    }
    seeds = ", ".join(map(str, selection.seeds))
    return (
        f"{', '.join(selection.domains) or suite[selection.chosen_suite]}, "
        f"{selection.shots[0]}-shot, protocol {selection.protocol}, seeds {seeds}"
    )


def _section(outcome: Outcome, written: Written) -> dict[str, Any]:
    finding = written.finding
    record = plain_json.loads(written.record.read_text(encoding="utf-8"))
    return {
        "kind": outcome.kind,
        "title": TITLES[outcome.kind],
        "sentences": finding.sentences,
        "figures": [
            _figure(finding.captions.get(name, name), *files)
            for name, files in written.figures.items()
        ],
        "missing": MISSING if finding.figures and not written.figures else None,
        "tables": [
            _table(name, written.tables[name], table) for name, table in finding.tables.items()
        ],
        "origin": json.dumps(record["provenance"], indent=1, ensure_ascii=False),
    }


def _figure(caption: str, png: Path, svg: Path) -> dict[str, Any]:
    """As wide as it was drawn, at most; what is wider than half a page has a line of its own."""
    (width,) = struct.unpack(">I", png.read_bytes()[16:20])
    inches = width / DPI
    return {
        "caption": caption,
        "wide": inches > HALF_PAGE,
        "width": f"{100 * inches:.0f}",
        "data": _embedded(png, svg),
    }


def _embedded(png: Path, svg: Path) -> str:
    vector = svg.stat().st_size <= LARGEST_SVG
    kind, path = ("svg+xml", svg) if vector else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(name: str, file: Path, table: Frame) -> dict[str, Any]:
    return {
        "name": name,
        "file": file.name,
        "length": len(table),
        "columns": table.columns,
        "rows": [list(map(_cell, row)) for row in table.head(MOST_ROWS).itertuples(index=False)],
        "more": max(0, len(table) - MOST_ROWS),
    }


def _cell(value: Any) -> tuple[str, bool]:
    """The text of a cell, and whether it is a number."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–", True
    return str(value), isinstance(value, int) and not isinstance(value, bool)
