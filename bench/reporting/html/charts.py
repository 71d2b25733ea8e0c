"""The charts of a leaderboard: cost, intervals, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ...comparison.leaderboard import Leaderboard, RowKey
from ...comparison.ranking import Standings
from ...records.results import Answer, by_cell
from .pareto import pareto
from .style import COLORS
from .svg import Bar, Point, bars, intervals

MOST_CLASSES = 30
"""Classes of a domain that are drawn as bars; of more (FSS-1000) the hardest are."""


def legend(board: Leaderboard) -> str:
    """Which colour is which row, throughout the board's charts."""
    colors = _colors(board)
    spans = (
        f'<span><i class="i{colors[key]}"></i>{escape(key.label)}</span>' for key in board.rows
    )
    return f'<p class="legend note">{"".join(spans)}</p>'


def cost_charts(board: Leaderboard, where: Standings) -> str:
    """The scores against operations, and against time on each machine."""
    return f'<div class="charts">{_figures(pareto(board, where, _colors(board)))}</div>'


def score_charts(board: Leaderboard, where: Standings, found: Sequence[Answer]) -> str:
    """Intervals by domain, and classes."""
    colors = _colors(board)
    return (
        f'<div class="charts">{_figures(_interval_plots(board, where, colors))}</div>'
        f'<div class="flow">{_figures(_class_bars(board, colors, found))}</div>'
    )


def _colors(board: Leaderboard) -> dict[RowKey, int]:
    return {key: index % COLORS for index, key in enumerate(board.rows)}


def _figures(charts: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"
        for title, svg in charts
        if svg
    )


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
    records = {cell: answer.record for cell, answer in by_cell(found).items()}
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
