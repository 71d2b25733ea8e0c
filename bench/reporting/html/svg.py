"""The layout of the charts: shapes for inline SVG, whose colours are the page's variables."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from ...comparison.pareto import frontier
from ...records.schema import NOT_TRAINED

WIDTH = 640
_LEFT, _RIGHT, _BOTTOM, _TOP = 56, 16, 40, 12


class Point(NamedTuple):
    """A labelled point; `low` and `high` are the ends of its interval on the y axis.

    Attributes:
        adapts: whether it is drawn as a diamond.
        ranked: whether it may stand on the line of what nothing dominates.
        published: another place on the x axis, drawn as a ring.
        aside: what its tip says besides.
    """

    label: str
    x: float
    y: float
    low: float
    high: float
    color: int
    adapts: bool = False
    ranked: bool = True
    published: float | None = None
    aside: str = ""


class Bar(NamedTuple):
    """One method's value in a group of bars."""

    label: str
    value: float
    color: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart: its elements as tag, attributes, text, and the tip that a pointer shows."""

    label: str
    height: int
    shapes: list[tuple[str, Mapping[str, str | float], str, str]] = field(default_factory=list)
    width: ClassVar = WIDTH

    def add(
        self, tag: str, attributes: Mapping[str, str | float], tip: str = "", text: str = ""
    ) -> None:
        """Draw an element, its numbers to one decimal."""
        rounded = {k: round(v, 1) if isinstance(v, float) else v for k, v in attributes.items()}
        self.shapes.append((tag, rounded, text, tip))

    def line(self, x1: float, y1: float, x2: float, y2: float, name: str) -> None:
        """Draw a line of the class `name`."""
        self.add("line", {"class": name, "x1": x1, "y1": y1, "x2": x2, "y2": y2})

    def circle(self, x: float, y: float, radius: float, name: str, tip: str) -> None:
        """Draw a circle of the class `name`."""
        self.add("circle", {"class": name, "cx": x, "cy": y, "r": radius}, tip)

    def text(self, x: float, y: float, text: str, anchor: str, **more: str) -> None:
        """Write a text that ends, begins or has its middle at `x`."""
        self.add("text", {"x": x, "y": y, "text-anchor": anchor, **more}, text=text)

    def x_axis(
        self, ticks: Sequence[float], across: Callable[[float], float], label: str, left: float
    ) -> None:
        """Draw the grid from left to right, its numbers, and what they mean."""
        bottom = self.height - _BOTTOM
        for tick in ticks:
            self.line(across(tick), _TOP, across(tick), bottom, "grid")
            self.text(across(tick), bottom + 16, f"{tick:g}", "middle")
        self.text((WIDTH + left) / 2, self.height - 6, label, "middle")

    def y_axis(self, ticks: Sequence[float], up: Callable[[float], float], label: str) -> None:
        """Draw the grid from below to above, its numbers, and what they mean."""
        for tick in ticks:
            self.line(_LEFT, up(tick), WIDTH - _RIGHT, up(tick), "grid")
            self.text(_LEFT - 8, up(tick) + 4, f"{tick:g}", "end")
        middle = (self.height - _BOTTOM + _TOP) / 2
        self.text(14, middle, label, "middle", transform=f"rotate(-90 14 {middle:.1f})")


def scatter(points: Sequence[Point], x_label: str, y_label: str) -> Drawing | None:
    """Points over a logarithmic x axis, those that nothing dominates joined by a line."""
    positive = [p for p in points if p.x > 0]
    if not positive:
        return None
    chart = Drawing(f"{y_label} against {x_label}", height=320)
    places = [x for p in positive for x in (p.x, p.published) if x]
    first = math.floor(math.log10(min(places)) * 2) / 2
    last = math.ceil(math.log10(max(places)) * 2) / 2
    last = max(last, first + 0.5)
    bottom, top = _span([p.low for p in positive], [p.high for p in positive])

    def across(x: float) -> float:
        return _LEFT + (math.log10(x) - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        share = (y - bottom) / (top - bottom)
        return chart.height - _BOTTOM - share * (chart.height - _BOTTOM - _TOP)

    chart.y_axis(_ticks(bottom, top), up, y_label)
    chart.x_axis(_log_ticks(first, last), across, x_label, _LEFT)
    front = frontier({i: (p.x, p.y) for i, p in enumerate(positive) if p.ranked})
    path = " ".join(f"{across(positive[i].x):.1f},{up(positive[i].y):.1f}" for i in front)
    chart.add("polyline", {"class": "front", "points": path})
    rings: list[tuple[float, float]] = []
    for i, p in enumerate(positive):
        shade = f"c{p.color}" if i in front else f"c{p.color} pale"
        x, y = across(p.x), up(p.y)
        chart.line(x, up(p.low), x, up(p.high), f"whisker {shade}")
        if p.published:
            ring = across(p.published)
            rings.append((ring, y))
            chart.line(x, y, ring, y, f"way {shade}")
            tip = f"{p.label} as published: {p.published:.3g}"
            chart.circle(ring, y, 4.5, f"ring c{p.color}", tip)
        tip = f"{p.label}: {p.y:.2f} at {p.x:.3g}{p.aside}"
        if p.adapts:
            diamond = f"M{x:.1f} {y - 7:.1f}l6 7-6 7-6-7z"
            chart.add("path", {"class": shade, "d": diamond}, tip)
        else:
            chart.circle(x, y, 5, shade, tip)
    _write_labels(chart, [(across(p.x), up(p.y), p.label) for p in positive], rings)
    return chart


def intervals(points: Sequence[Point], x_label: str) -> Drawing:
    """A line per method: the estimate and its interval, best first."""
    left, row = 204, 24
    chart = Drawing(x_label, _TOP + row * len(points) + _BOTTOM)
    low, high = _span([p.low for p in points], [p.high for p in points])

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - _RIGHT)

    chart.x_axis(_ticks(low, high), across, x_label, left)
    for index, p in enumerate(sorted(points, key=lambda p: -p.y)):
        y = _TOP + row * (index + 0.5)
        chart.text(left - 8, y + 4, _short(p.label, 28), "end")
        chart.line(across(p.low), y, across(p.high), y, f"whisker c{p.color}")
        tip = f"{p.label}: {p.y:.2f} [{p.low:.2f}, {p.high:.2f}]"
        chart.circle(across(p.y), y, 5, f"c{p.color}", tip)
    return chart


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], x_label: str) -> Drawing:
    """Horizontal bars, grouped by class."""
    lines = sum(len(group) for _, group in groups)
    # Of many methods thinner bars: a chart of thirty classes shall stay a chart.
    left, gap, thick = 176, 10, max(4, 9 - max(len(group) for _, group in groups) // 3)
    chart = Drawing(x_label, _TOP + lines * thick + len(groups) * gap + _BOTTOM)

    def across(value: float) -> float:
        return left + value / 100 * (WIDTH - left - _RIGHT)

    chart.x_axis((0, 25, 50, 75, 100), across, x_label, left)
    y = _TOP
    for name, group in groups:
        chart.text(left - 8, y + len(group) * thick / 2 + 4, _short(name, 24), "end")
        for bar in group:
            box = {"x": left, "y": y, "width": max(across(bar.value) - left, 0)}
            tip = f"{name}, {bar.label}: {bar.value:.2f}"
            chart.add("rect", {"class": f"c{bar.color}", **box, "height": thick - 1.5}, tip)
            y += thick
        y += gap
    return chart


def _write_labels(
    chart: Drawing,
    places: Sequence[tuple[float, float, str]],
    rings: Sequence[tuple[float, float]],
) -> None:
    """Names beside points: right of them, else left, else lower, wherever nothing lies yet."""
    taken = [(x - 6, x + 6, y + 4) for x, y in [*((x, y) for x, y, _ in places), *rings]]
    for x, y, label in sorted(places, key=lambda place: place[1]):
        wide, below = 7 * len(label), y + 4
        sides = [(x + 9, "start"), (x - 9 - wide, "end")]
        free = [(left, anchor) for left, anchor in sides if _LEFT < left < WIDTH - _RIGHT - wide]

        def is_taken(left: float, below: float, wide: int = wide) -> bool:
            return any(abs(below - b) < 13 and left < r and left + wide > a for a, r, b in taken)

        clear = [(left, anchor) for left, anchor in free if not is_taken(left, below)]
        left, anchor = (clear or free or sides)[0]
        while is_taken(left, below):
            below += 2
        taken.append((left, left + wide, below))
        chart.text(left if anchor == "start" else left + wide, below, label, anchor)


def _span(low: Sequence[float], high: Sequence[float]) -> tuple[float, float]:
    bottom, top = math.floor(min(low) / 5) * 5.0, math.ceil(max(high) / 5) * 5.0
    return bottom, max(top, bottom + 5)


def _ticks(low: float, high: float) -> list[float]:
    step = next(s for s in (1, 2, 5, 10, 20, 50) if (high - low) / s <= 8)
    return [tick * step for tick in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(first: float, last: float) -> list[float]:
    whole = range(math.floor(first), math.ceil(last) + 1)
    marks = (1, 3) if last - first > 1 else (1, 2, 3, 5, 7)
    ticks = [m * 10.0**e for e in whole for m in marks]
    return [t for t in ticks if first - 1e-9 <= math.log10(t) <= last + 1e-9]


def _short(text: str, length: int) -> str:
    """At most so many characters; what says that a method is not trained is kept."""
    if len(text) <= length:
        return text
    end = NOT_TRAINED if text.endswith(NOT_TRAINED) else ""
    return f"{text[: length - 1 - len(end)]}…{end}"
