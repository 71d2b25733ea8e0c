"""Every finding of one method on one self-contained page: no network, no scripts."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from cdfss_bench import __version__, plain_json

from ..planning.cell import command_line, now
from ..planning.selection import Selection
from ..reporting.html.style import CSS
from .drawing import DPI, MISSING
from .finding import Written
from .frames import Frame
from .running import Outcome

MOST_ROWS = 60
"""Rows of a table that stand on the page; the CSV file beside it has all."""

LARGEST_SVG = 600_000
"""Bytes beyond which the PNG is embedded instead."""

HALF_PAGE = 7.2
"""Inches."""

STYLE = """
figure img{width:100%;height:auto;display:block;background:#fff;border-radius:4px}
.findings{display:grid;gap:1rem;align-items:start;
grid-template-columns:repeat(auto-fit,minmax(min(100%,540px),1fr))}
figure.wide{grid-column:1/-1}figcaption{margin:.4rem 0 0;color:var(--dim)}
ol.said{padding-left:1.3rem;max-width:75ch}ol.said li{margin:.3rem 0}
details{margin:.5rem 0}pre{overflow-x:auto;font-size:.78rem;background:var(--soft);padding:.6rem;
border-radius:8px}
.missing{border-left:3px solid var(--line);padding-left:.8rem}
"""

TITLES = {
    "curve": "Target mIoU over source training",
    "features": "Activation of each stage",
    "sharpness": "Noise in features and weights",
    "freeze": "Frozen against trained shallow stages",
    "cka": "Similarity of source and target features",
    "frequency": "Amplitude, phase, and channels",
    "lcm": "Low-level calibration and its anchors",
}


def as_html(method: str, selection: Selection, outcomes: Sequence[Outcome]) -> str:
    """The page.

    Args:
        method: as typed.
        selection: what was asked.
        outcomes: of every kind, refused ones too.
    """
    done = [(o, o.written) for o in outcomes if o.written is not None]
    links = "".join(f'<a href="#{escape(o.kind)}">{escape(_title(o.kind))}</a>' for o, _ in done)
    sections = "\n".join(_section(outcome, written) for outcome, written in done)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Diagnosis of {escape(method)}</title><style>{CSS}{STYLE}</style></head><body>
<h1>Diagnosis of {escape(method)}</h1>
<p class="dim">{escape(_asked(selection))}, cdfss-bench {escape(__version__)}, {escape(now())}.</p>
<nav>{links}</nav>
{sections}
{_refused(outcomes)}
<p class="note">Written by <code>{escape(command_line())}</code>. What each part measures and what
it cannot tell stands in docs/diagnosis.md. Looking at target labels is a diagnosis: no weight and
no setting may be chosen by it.</p>
</body></html>
"""


def _title(kind: str) -> str:
    return TITLES.get(kind, kind)


def _asked(selection: Selection) -> str:
    suite = {"mini": "the procedural mini suite", "cdfss": "the real targets"}
    seeds = ", ".join(map(str, selection.seeds))
    return (
        f"{', '.join(selection.domains) or suite[selection.chosen_suite]}, "
        f"{selection.shots[0]}-shot, protocol {selection.protocol}, seeds {seeds}"
    )


def _section(outcome: Outcome, written: Written) -> str:
    finding = written.finding
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in finding.sentences)
    drawn = "".join(
        _figure(finding.captions.get(name, name), *files) for name, files in written.figures.items()
    )
    if finding.figures and not written.figures:
        drawn = f'<p class="note">{escape(MISSING)}</p>'
    tables = "".join(
        f"<details><summary>{escape(name)} ({len(table)} rows, {escape(written.tables[name].name)})"
        f"</summary>{_table(table)}</details>"
        for name, table in finding.tables.items()
    )
    record = plain_json.loads(written.record.read_text(encoding="utf-8"))
    origin = escape(json.dumps(record["provenance"], indent=1, ensure_ascii=False))
    return (
        f'<section id="{escape(outcome.kind)}"><h2>{escape(_title(outcome.kind))} '
        f"<small>{escape(outcome.kind)}</small></h2>"
        f'<ol class="said">{said}</ol><div class="findings">{drawn}</div>{tables}'
        f"<details><summary>Where these numbers come from</summary><pre>{origin}</pre></details>"
        "</section>"
    )


def _figure(caption: str, png: Path, svg: Path) -> str:
    """As wide as it was drawn, at most; what is wider than half a page has a line of its own."""
    (width,) = struct.unpack(">I", png.read_bytes()[16:20])
    inches = width / DPI
    name = ' class="wide"' if inches > HALF_PAGE else ""
    return (
        f'<figure{name}><img alt="{escape(caption)}" style="max-width:{100 * inches:.0f}px" '
        f'src="{_embedded(png, svg)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _embedded(png: Path, svg: Path) -> str:
    vector = svg.stat().st_size <= LARGEST_SVG
    kind, path = ("svg+xml", svg) if vector else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(table: Frame) -> str:
    columns = [str(column) for column in table.columns]
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    rows = "".join(
        "<tr>" + "".join(_cell(value) for value in row) + "</tr>"
        for row in table.head(MOST_ROWS).itertuples(index=False)
    )
    more = len(table) - MOST_ROWS
    rest = f'<p class="note">and {more} further rows in the file</p>' if more > 0 else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f"</div>{rest}"
    )


def _cell(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        text = f"{value:.4g}" if math.isfinite(value) else "–"
        return f'<td class="num">{text}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="num">{value}</td>'
    return f"<td>{escape(str(value))}</td>"


def _refused(outcomes: Sequence[Outcome]) -> str:
    refused = [outcome for outcome in outcomes if outcome.written is None]
    if not refused:
        return ""
    items = "".join(
        f'<p class="missing"><b>{escape(_title(o.kind))}</b> ({escape(o.kind)}): '
        f"{escape(o.reason)}"
        + (f"<br><span class=dim>mend: {escape(o.mend)}</span>" if o.mend else "")
        + "</p>"
        for o in refused
    )
    return f'<section id="refused"><h2>Not measured</h2>{items}</section>'
