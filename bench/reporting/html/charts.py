"""The charts of a leaderboard: cost, intervals, classes."""

from collections.abc import Mapping

from ...comparison.leaderboard import Leaderboard, RowKey
from ...comparison.ranking import Standings
from ...records.results import RunResult
from .svg import Bar, Drawing, Point, bars, intervals

COLORS = 12
"""Colours of rows: `--c0` to `--c11` of style.css, the classes of base.html.j2."""
MOST_CLASSES = 30
"""Classes of a domain that are drawn as bars; of more (FSS-1000) the hardest are."""


def colors_of(board: Leaderboard) -> dict[RowKey, int]:
    """Which colour is which row, throughout the board's charts."""
    return {key: index % COLORS for index, key in enumerate(board.rows)}


def interval_charts(
    board: Leaderboard, where: Standings, colors: Mapping[RowKey, int]
) -> list[tuple[str, Drawing]]:
    """Captions and charts: the rows with their intervals, by domain."""
    plots: list[tuple[str, Drawing]] = []
    blank = "; a dot without a line: too few query images"
    for column in board.columns:
        points: list[Point] = []
        for key, row in board.rows.items():
            standing = where.get((key, column))
            if standing is not None:
                mean, ends = row.scores[column].mean, standing.interval
                low, high = (ends.low, ends.high) if ends else (mean, mean)
                points.append(Point(key.label, 0, mean, low, high, colors[key]))
        if points:
            short = any(point.low == point.high for point in points)
            title = f"{column.domain}: mIoU (dot), 95 % interval (line{blank if short else ''})"
            plots.append((title, intervals(points, "mIoU (%)")))
    return plots


def class_charts(
    board: Leaderboard, colors: Mapping[RowKey, int], known: Mapping[str, RunResult]
) -> list[tuple[str, Drawing]]:
    """Captions and charts: the rows by class, by domain."""
    charts: list[tuple[str, Drawing]] = []
    for column in board.columns:
        values: dict[int, list[Bar]] = {}
        names: dict[int, str] = {}
        for key, row in board.rows.items():
            if column not in row.scores:
                continue
            of_row = [known[cell].record for cell in row.scores[column].cells.values()]
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
