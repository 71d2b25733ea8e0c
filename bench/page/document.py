"""The report page: leaderboards, charts, paired differences, and where each number comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from cdfss_bench import __version__
from cdfss_bench.errors import RecordError

from ..answers import Answer
from ..compare import compare
from ..leaderboard import Leaderboard, Row, RowKey, leaderboards
from ..published import Report, against
from ..records import RunRecord
from ..standing import Standings, standings
from ..tables import text_table
from ..texttable import BLANK, TextTable
from .panels import Source, section
from .style import COLORS, CSS, SCRIPT
from .svg import Bar, Point, bars, intervals, scatter

PAGE_LIMIT = 2_000_000
"""Bytes; pictures that would exceed them are left out."""
MOST_IN_MATRIX = 12
MOST_CLASSES = 30
"""Classes of a domain that are drawn as bars; of more (FSS-1000) the hardest are."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Whatever is inside, the browser fetches nothing."""
_PLACE = "<!-- panels {} -->"


def as_html(
    found: Sequence[Answer],
    published: Sequence[Report] | None = None,
    source: Source | None = None,
) -> str:
    """The whole report, self-contained.

    Args:
        found: records with their rows.
        published: what papers report, if it shall stand beside.
        source: draws single episodes, if they shall be shown: as many as fit into 2 MB, each
            board having an equal share of what is left.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    boards = leaderboards(answer.record for answer in found)
    parts = [_header(boards, found)]
    for number, board in enumerate(boards):
        parts.append(_board(number, board, found, published, placeholder=source is not None))
    page = _page("\n".join(parts), found)
    if source is not None:
        by_cell = {answer.record.cell: answer for answer in found}
        for number, board in enumerate(boards):
            left = PAGE_LIMIT - len(page.encode())
            panels = section(
                board,
                _best_first(board),
                by_cell,
                source,
                budget=left // (len(boards) - number),
                prefix=f"b{number}-",
            )
            page = page.replace(_PLACE.format(number), panels, 1)
    return page


def _page(body: str, found: Sequence[Answer]) -> str:
    said = json.dumps(_interned(provenance(found)), ensure_ascii=False, separators=(",", ":"))
    said = said.replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>cdfss-bench leaderboard</title><style>{CSS}</style></head><body>
{body}
<dialog id="box"><h3>Where this number comes from</h3><div id="origins"></div>
<form method="dialog"><button>Close</button></form></dialog>
<script type="application/json" id="provenance">{said}</script>
<script>{SCRIPT}</script></body></html>
"""


def provenance(found: Iterable[Answer]) -> dict[str, dict[str, str]]:
    """What is shown of a record when its number is clicked, by the first half of its cell id."""
    result: dict[str, dict[str, str]] = {}
    for answer in found:
        record = answer.record
        if record.metrics is None:
            continue
        environment = record.environment
        git = environment.get("git") or {}
        values = {
            "method": f"{record.method.label} = {record.method.composition}",
            "backbone": record.method.backbone,
            "adapts": record.method.adaptation,
            "domain": f"{record.domain.title}, {record.domain.profile}",
            "fingerprint of the data": record.domain.fingerprint,
            "episodes": f"{record.episodes.count}, {record.episodes.shots}-shot, seed "
            f"{record.episodes.seed}, protocol {record.episodes.protocol}",
            "manifest": record.episodes.sha256,
            "rows": record.episodes.rows_sha256,
            "mIoU": f"{record.metrics.miou:.4f}",
            "FB-IoU": f"{record.metrics.fb_iou:.4f}",
            "mean of episodes": f"{record.metrics.macro_iou:.4f}",
            "cost": _cost(record),
            "weights": record.weights.description,
            "backbone file": f"{record.weights.pretrained} {record.weights.pretrained_sha256}",
            "checkpoint": f"{record.weights.checkpoint} {record.weights.checkpoint_sha256}",
            "selection": record.weights.selection,
            "evaluator": f"version {record.evaluator.version}, {record.evaluator.precision}",
            "code": f"{record.method.code[:16]}, commit {git.get('commit', 'unknown')}",
            "machine": f"{environment.get('device', '')} {environment.get('cpu', '')}".strip(),
            "command": record.command,
            "finished": record.finished,
            "cell": record.cell,
        }
        result[record.cell[:16]] = {key: value for key, value in values.items() if value.strip()}
    return result


def _interned(said: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The same with every text once: most hashes and commands stand in many records."""
    keys = list(dict.fromkeys(key for values in said.values() for key in values))
    texts = {text: i for i, text in enumerate({v: 0 for vs in said.values() for v in vs.values()})}
    cells = {
        cell: [texts[values[key]] if key in values else -1 for key in keys]
        for cell, values in said.items()
    }
    return {"keys": keys, "texts": list(texts), "cells": cells}


def _cost(record: RunRecord) -> str:
    cost = record.cost
    if cost is None:
        return ""
    return (
        f"{cost.params:,} parameters, {cost.flops_episode:,} operations and "
        f"{cost.latency_ms['episode']['p50']:.1f} ms per episode on {cost.device}; {cost.probe}"
    )


def _header(boards: Sequence[Leaderboard], found: Sequence[Answer]) -> str:
    links = "".join(
        f'<a href="#board{i}">{escape(text_table(board).title)}</a>'
        for i, board in enumerate(boards)
    )
    done = sum(answer.record.status == "done" for answer in found)
    return (
        "<h1>Cross-domain few-shot segmentation</h1>"
        f'<p class="dim">{done} finished records, cdfss-bench {escape(__version__)}. Every number '
        "has its origin behind it: click it.</p>"
        f"<nav>{links}</nav>"
    )


def _board(
    number: int,
    board: Leaderboard,
    found: Sequence[Answer],
    published: Sequence[Report] | None,
    *,
    placeholder: bool,
) -> str:
    where = standings(board, found)
    table = text_table(board, where)
    colors = {key: index % COLORS for index, key in enumerate(board.rows)}
    parts = [
        f'<section id="board{number}"{" class=outdated" if table.outdated else ""}>',
        f"<h2>{escape(table.title)}</h2>",
        f'<input type="search" placeholder="Filter rows" data-table="t{number}">',
        _table(f"t{number}", table),
        "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes),
        _charts(board, where, colors, found),
        _matrix(board, found),
        _PLACE.format(number) if placeholder else "",
    ]
    if published is not None and board.key.suite == "cdfss":
        beside = against(board, published)
        parts.append(f"<details><summary>{escape(beside.title)}</summary>")
        parts.append(_table(f"p{number}", beside))
        parts.append("".join(f'<p class="note">{escape(n)}</p>' for n in beside.notes))
        parts.append("</details>")
    return "\n".join([*parts, "</section>"])


def _table(name: str, table: TextTable) -> str:
    head = "".join(
        f'<th scope="col"{_num(i, table)}><button>{escape(text)}</button></th>'
        for i, text in enumerate(table.headers)
    )
    lines: list[str] = []
    for index, cells in enumerate(table.rows):
        if index in table.sections:
            title = escape(table.sections[index])
            lines.append(
                f'<tr class="section"><td colspan="{len(table.headers)}">{title}</td></tr>'
            )
        drawn = "".join(_cell(table, index, at, text) for at, text in enumerate(cells))
        lines.append(f"<tr>{drawn}</tr>")
    return (
        f'<div class="scroll"><table id="{name}" class="board"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(table: TextTable, index: int, at: int, text: str) -> str:
    names = [table.marks.get((index, at), ""), "grey" if at in table.grey else ""]
    names.append("num" if at in table.numeric else "")
    shown, bracket, rest = text.partition(" [")
    content = escape(shown) + (f"<small>[{escape(rest)}</small>" if bracket else "")
    content = content.replace("@", "<wbr>@")
    cells = " ".join(cell[:16] for cell in table.behind.get((index, at), ()))
    if cells and shown != BLANK:
        content = f'<button data-cells="{cells}">{content}</button>'
    value = _sorted_as(shown)
    classes = " ".join(filter(None, names))
    return f'<td class="{classes}" data-value="{escape(value)}">{content}</td>'


def _sorted_as(text: str) -> str:
    """By what a cell is sorted: 1.15 M lies above 412 k, `≈` and `±` count nothing."""
    number, _, unit = text.lstrip("≈").partition(" ")
    if unit not in ("k", "M"):
        return number
    return f"{float(number) * {'k': 1e3, 'M': 1e6}[unit]:.0f}"


def _num(index: int, table: TextTable) -> str:
    return ' class="num"' if index in table.numeric else ""


def _charts(
    board: Leaderboard,
    where: Standings,
    colors: Mapping[RowKey, int],
    found: Sequence[Answer],
) -> str:
    legend = "".join(
        f'<span><i class="i{colors[key]}"></i>{escape(key.label)}</span>' for key in board.rows
    )
    plots = [*_pareto(board, where, colors), *_interval_plots(board, where, colors)]
    return (
        f'<p class="legend note">{legend}</p><div class="charts">{_figures(plots)}</div>'
        f'<div class="flow">{_figures(_class_bars(board, colors, found))}</div>'
    )


def _figures(charts: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"
        for title, svg in charts
        if svg
    )


def _pareto(
    board: Leaderboard, where: Standings, colors: Mapping[RowKey, int]
) -> list[tuple[str, str]]:
    flops: list[Point] = []
    times: list[Point] = []
    for key, row in board.rows.items():
        mean, standing = board.mean(row), where.get((key, None))
        if mean is None or row.cost is None:
            continue
        interval = standing.interval if standing else None
        low, high = (interval.low, interval.high) if interval else (mean, mean)
        color = colors[key]
        flops.append(Point(key.label, row.cost.flops_episode / 1e9, mean, low, high, color))
        latency = row.cost.latency_ms["episode"]["p50"]
        times.append(Point(key.label, latency, mean, low, high, color))
    return [
        ("Mean mIoU against operations; the dashed line joins what nothing cheaper reaches",
         scatter(flops, "GFLOP per episode", "mean mIoU (%)")),
        ("Mean mIoU against time", scatter(times, "ms per episode, batch 1", "mean mIoU (%)")),
    ]  # fmt: skip


def _interval_plots(
    board: Leaderboard, where: Standings, colors: Mapping[RowKey, int]
) -> list[tuple[str, str]]:
    plots: list[tuple[str, str]] = []
    for column in board.columns:
        points: list[Point] = []
        for key, row in board.rows.items():
            standing = where.get((key, column))
            if standing is not None:
                mean, ends = row.scores[column].mean, standing.interval
                low, high = (ends.low, ends.high) if ends else (mean, mean)
                points.append(Point(key.label, 0, mean, low, high, colors[key]))
        if points:
            title = f"{column.domain}: mIoU with its 95 % interval"
            plots.append((title, intervals(points, "mIoU (%)")))
    return plots


def _class_bars(
    board: Leaderboard, colors: Mapping[RowKey, int], found: Sequence[Answer]
) -> list[tuple[str, str]]:
    records = {answer.record.cell: answer.record for answer in found}
    charts: list[tuple[str, str]] = []
    for column in board.columns:
        values: dict[int, list[Bar]] = {}
        names: dict[int, str] = {}
        for key, row in board.rows.items():
            if column not in row.scores:
                continue
            of_row = [records[cell] for cell in row.scores[column].cells.values()]
            names |= of_row[0].domain.classes
            per_class = [record.metrics.per_class for record in of_row if record.metrics]
            for class_id in per_class[0]:
                seeds = [one[class_id] for one in per_class if class_id in one]
                bar = Bar(key.label, sum(seeds) / len(seeds), colors[key])
                values.setdefault(class_id, []).append(bar)
        hardest = sorted(values, key=lambda c: max(bar.value for bar in values[c]))[:MOST_CLASSES]
        if not hardest:
            continue
        part = f", the {MOST_CLASSES} hardest classes" if len(values) > MOST_CLASSES else ""
        groups = [(names.get(c, str(c)), values[c]) for c in hardest]
        charts.append((f"{column.domain}: IoU by class{part}", bars(groups, "IoU (%)")))
    return charts


def _matrix(board: Leaderboard, found: Sequence[Answer]) -> str:
    """Mean paired differences, row minus column; coloured where they are significant."""
    by_cell = {answer.record.cell: answer for answer in found}
    rows = sorted(board.rows.values(), key=lambda row: -(board.mean(row) or 0))[:MOST_IN_MATRIX]
    rows = [row for row in rows if row.scores]
    if len(rows) < 2:
        return ""
    sides = [
        [by_cell[cell] for score in row.scores.values() for cell in score.cells.values()]
        for row in rows
    ]
    head = "".join(f'<th class="num">{escape(row.key.label)}</th>' for row in rows)
    lines: list[str] = []
    known: dict[tuple[int, int], tuple[str, str, str]] = {}
    for i in range(len(rows)):
        for j in range(i):
            text, p, verdict = _paired(sides[i], sides[j])
            known[i, j] = (text, p, verdict)
            turned = {"A is better": "B is better", "B is better": "A is better"}
            swap = text.replace("+", "~").replace("-", "+").replace("~", "-")
            known[j, i] = (swap, p, turned.get(verdict, verdict))
    for i, row in enumerate(rows):
        cells = "".join(
            '<td class="num dim">·</td>' if i == j else _difference(*known[i, j])
            for j in range(len(rows))
        )
        lines.append(f"<tr><th>{escape(row.key.label)}</th>{cells}</tr>")
    return (
        "<h3>Paired differences</h3>"
        '<p class="note">Row minus column in points of mIoU, over the domains that both answered; '
        "coloured where the sign-flip test and the declared minimum allow a claim.</p>"
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _paired(a: Sequence[Answer], b: Sequence[Answer]) -> tuple[str, str, str]:
    try:
        (comparison,) = compare(a, b, resamples=2_000)
    except RecordError as error:
        return BLANK, error.problem, ""
    last = comparison.differences[-1]
    return f"{last.a - last.b:+.2f}", f"p = {last.p_holm:.4f}, {last.domain}", last.verdict


def _difference(text: str, tip: str, verdict: str) -> str:
    name = {"A is better": "won", "B is better": "lost"}.get(verdict, "")
    return f'<td class="num {name}" title="{escape(tip)}">{escape(text)}</td>'


def _best_first(board: Leaderboard) -> list[Row]:
    """Rows by their mean, those without one last."""
    rows = [row for section in board.sections() for row in section.rows if row.scores]
    return sorted(rows, key=lambda row: -(board.mean(row) or 0))
