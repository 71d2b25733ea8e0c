"""The layout of the charts: shapes for inline SVG, whose colours are the page's variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

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


class Shape(NamedTuple):
    """An SVG element with its text, or with the tip that a pointer over it shows."""

    tag: str
    attributes: Mapping[str, str | float | None]
    text: str = ""
    tip: str = ""


class Drawing(NamedTuple):
    """The shapes of a chart that is `WIDTH` wide."""

    label: str
    height: int
    shapes: Sequence[Shape]


def scatter(points: Sequence[Point], x_label: str, y_label: str) -> Drawing | None:
    """Points over a logarithmic x axis, those that nothing dominates joined by a line."""
    height = 320
    positive = [p for p in points if p.x > 0]
    if not positive:
        return None
    places = [x for p in positive for x in (p.x, p.published) if x]
    first = math.floor(math.log10(min(places)) * 2) / 2
    last = math.ceil(math.log10(max(places)) * 2) / 2
    last = max(last, first + 0.5)
    bottom, top = _span([p.low for p in positive], [p.high for p in positive])

    def across(x: float) -> float:
        return _LEFT + (math.log10(x) - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return height - _BOTTOM - (y - bottom) / (top - bottom) * (height - _BOTTOM - _TOP)

    shapes = _y_axis(bottom, top, up, y_label, height)
    shapes += _x_axis(_log_ticks(first, last), across, x_label, _LEFT, height)
    numbers = {i: (p.x, p.y) for i, p in enumerate(positive) if p.ranked}
    front = frontier(numbers)
    path = " ".join(f"{across(positive[i].x):.1f},{up(positive[i].y):.1f}" for i in front)
    shapes.append(_shape("polyline", {"class": "front", "points": path}))
    for i, p in enumerate(positive):
        shade = f"c{p.color}" if i in front else f"c{p.color} pale"
        x, y = across(p.x), up(p.y)
        shapes.append(_line(x, up(p.low), x, up(p.high), f"whisker {shade}"))
        if p.published:
            ring = across(p.published)
            shapes.append(_line(x, y, ring, y, f"way {shade}"))
            tip = f"{p.label} as published: {p.published:.3g}"
            shapes.append(_circle(ring, y, 4.5, f"ring c{p.color}", tip))
        tip = f"{p.label}: {p.y:.2f} at {p.x:.3g}{p.aside}"
        if p.adapts:
            diamond = f"M{x:.1f} {y - 7:.1f}l6 7-6 7-6-7z"
            shapes.append(_shape("path", {"class": shade, "d": diamond}, tip=tip))
        else:
            shapes.append(_circle(x, y, 5, shade, tip))
    rings = [(across(p.published), up(p.y)) for p in positive if p.published]
    shapes += _labels([(across(p.x), up(p.y), p.label) for p in positive], rings)
    return Drawing(f"{y_label} against {x_label}", height, shapes)


def intervals(points: Sequence[Point], x_label: str) -> Drawing:
    """A line per method: the estimate and its interval, best first."""
    ordered = sorted(points, key=lambda p: -p.y)
    left, row = 204, 24
    height = _TOP + row * len(ordered) + _BOTTOM
    low, high = _span([p.low for p in ordered], [p.high for p in ordered])

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - _RIGHT)

    shapes = _x_axis(_ticks(low, high), across, x_label, left, height)
    for index, p in enumerate(ordered):
        y = _TOP + row * (index + 0.5)
        tip = f"{p.label}: {p.y:.2f} [{p.low:.2f}, {p.high:.2f}]"
        shapes += [
            _text(left - 8, y + 4, _short(p.label, 28), "end"),
            _line(across(p.low), y, across(p.high), y, f"whisker c{p.color}"),
            _circle(across(p.y), y, 5, f"c{p.color}", tip),
        ]
    return Drawing(x_label, height, shapes)


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], x_label: str) -> Drawing:
    """Horizontal bars, grouped by class."""
    lines = sum(len(group) for _, group in groups)
    # Of many methods thinner bars: a chart of thirty classes shall stay a chart.
    left, gap, thick = 176, 10, max(4, 9 - max(len(group) for _, group in groups) // 3)
    height = _TOP + lines * thick + len(groups) * gap + _BOTTOM

    def across(value: float) -> float:
        return left + value / 100 * (WIDTH - left - _RIGHT)

    shapes = _x_axis((0, 25, 50, 75, 100), across, x_label, left, height)
    y = _TOP
    for name, group in groups:
        middle = y + len(group) * thick / 2 + 4
        shapes.append(_text(left - 8, middle, _short(name, 24), "end"))
        for bar in group:
            tip = f"{name}, {bar.label}: {bar.value:.2f}"
            width = max(across(bar.value) - left, 0)
            box = {"x": left, "y": y, "width": width, "height": thick - 1.5}
            shapes.append(_shape("rect", {"class": f"c{bar.color}", **box}, tip=tip))
            y += thick
        y += gap
    return Drawing(x_label, height, shapes)


def _labels(
    places: Sequence[tuple[float, float, str]], rings: Sequence[tuple[float, float]]
) -> list[Shape]:
    """Names beside points: right of them, else left, else lower, wherever nothing lies yet."""
    shapes: list[Shape] = []
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
        shapes.append(_text(left if anchor == "start" else left + wide, below, label, anchor))
    return shapes


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


def _x_axis(
    ticks: Sequence[float], across: Callable[[float], float], label: str, left: int, height: int
) -> list[Shape]:
    shapes: list[Shape] = []
    for tick in ticks:
        x = across(tick)
        shapes.append(_line(x, _TOP, x, height - _BOTTOM, "grid"))
        shapes.append(_text(x, height - _BOTTOM + 16, f"{tick:g}", "middle"))
    return [*shapes, _text((WIDTH + left) / 2, height - 6, label, "middle")]


def _y_axis(
    bottom: float, top: float, up: Callable[[float], float], label: str, height: int
) -> list[Shape]:
    shapes: list[Shape] = []
    for tick in _ticks(bottom, top):
        y = up(tick)
        shapes.append(_line(_LEFT, y, WIDTH - _RIGHT, y, "grid"))
        shapes.append(_text(_LEFT - 8, y + 4, f"{tick:g}", "end"))
    middle = (height - _BOTTOM + _TOP) / 2
    turned = f"rotate(-90 14 {middle:.1f})"
    return [*shapes, _text(14, middle, label, "middle", transform=turned)]


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Shape:
    return _shape("line", {"class": name, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def _circle(x: float, y: float, radius: float, name: str, tip: str) -> Shape:
    return _shape("circle", {"class": name, "cx": x, "cy": y, "r": radius}, tip=tip)


def _text(x: float, y: float, text: str, anchor: str, transform: str | None = None) -> Shape:
    return _shape("text", {"x": x, "y": y, "text-anchor": anchor, "transform": transform}, text)


def _shape(
    tag: str, attributes: Mapping[str, str | float | None], text: str = "", tip: str = ""
) -> Shape:
    """A shape with its numbers to one decimal; an attribute that is None is left out."""
    rounded = {k: round(v, 1) if isinstance(v, float) else v for k, v in attributes.items()}
    return Shape(tag, rounded, text, tip)


def _short(text: str, length: int) -> str:
    """At most so many characters; what says that a method is not trained is kept."""
    if len(text) <= length:
        return text
    end = NOT_TRAINED if text.endswith(NOT_TRAINED) else ""
    return f"{text[: length - 1 - len(end)]}…{end}"
