"""The charts of a leaderboard: cost, intervals, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ..answers import Answer
from ..leaderboard import Leaderboard, RowKey
from ..standing import Standings
from .style import COLORS
from .svg import Bar, Point, bars, intervals, scatter

MOST_CLASSES = 30
"""Classes of a domain that are drawn as bars; of more (FSS-1000) the hardest are."""


def charts(
    board: Leaderboard,
    where: Standings,
    found: Sequence[Answer],
) -> str:
    """A legend and all charts of a board, one colour per row throughout."""
    colors = {key: index % COLORS for index, key in enumerate(board.rows)}
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
