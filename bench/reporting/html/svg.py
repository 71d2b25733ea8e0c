"""Charts as inline SVG: text is real text, colours are the page's variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
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


def scatter(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Points over a logarithmic x axis, those that nothing dominates joined by a line."""
    height = 320
    positive = [p for p in points if p.x > 0]
    if not positive:
        return ""
    places = [x for p in positive for x in (p.x, p.published) if x]
    first = math.floor(math.log10(min(places)) * 2) / 2
    last = math.ceil(math.log10(max(places)) * 2) / 2
    last = max(last, first + 0.5)
    bottom, top = _span([p.low for p in positive], [p.high for p in positive])

    def across(x: float) -> float:
        return _LEFT + (math.log10(x) - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return height - _BOTTOM - (y - bottom) / (top - bottom) * (height - _BOTTOM - _TOP)

    parts = [_y_axis(bottom, top, up, y_label, height)]
    for tick in _log_ticks(first, last):
        x = across(tick)
        parts.append(_line(x, _TOP, x, height - _BOTTOM, "grid"))
        parts.append(_text(x, height - _BOTTOM + 16, f"{tick:g}", "middle"))
    parts.append(_text((WIDTH + _LEFT) / 2, height - 6, x_label, "middle"))
    numbers = {i: (p.x, p.y) for i, p in enumerate(positive) if p.ranked}
    front = frontier(numbers)
    path = " ".join(f"{across(positive[i].x):.1f},{up(positive[i].y):.1f}" for i in front)
    parts.append(f'<polyline class="front" points="{path}"/>')
    for i, p in enumerate(positive):
        shade = f"c{p.color}" if i in front else f"c{p.color} pale"
        x, y = across(p.x), up(p.y)
        parts.append(_line(x, up(p.low), x, up(p.high), f"whisker {shade}"))
        if p.published:
            ring = across(p.published)
            parts.append(_line(x, y, ring, y, f"way {shade}"))
            tip = f"{p.label} as published: {p.published:.3g}"
            parts.append(
                f'<circle class="ring c{p.color}" cx="{ring:.1f}" cy="{y:.1f}" r="4.5">'
                f"<title>{escape(tip)}</title></circle>"
            )
        parts.append(_mark(p, x, y, shade))
    rings = [(across(p.published), up(p.y)) for p in positive if p.published]
    parts += _labels([(across(p.x), up(p.y), p.label) for p in positive], rings)
    return _svg(height, parts, f"{y_label} against {x_label}")


def intervals(points: Sequence[Point], x_label: str) -> str:
    """A line per method: the estimate and its interval, best first."""
    ordered = sorted(points, key=lambda p: -p.y)
    left, row = 204, 24
    height = _TOP + row * len(ordered) + _BOTTOM
    low, high = _span([p.low for p in ordered], [p.high for p in ordered])

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - _RIGHT)

    parts: list[str] = []
    for tick in _ticks(low, high):
        x = across(tick)
        parts.append(_line(x, _TOP, x, height - _BOTTOM, "grid"))
        parts.append(_text(x, height - _BOTTOM + 16, f"{tick:g}", "middle"))
    parts.append(_text((WIDTH + left) / 2, height - 6, x_label, "middle"))
    for index, p in enumerate(ordered):
        y = _TOP + row * (index + 0.5)
        parts.append(_text(left - 8, y + 4, _short(p.label, 28), "end"))
        parts.append(_line(across(p.low), y, across(p.high), y, f"whisker c{p.color}"))
        tip = f"{p.label}: {p.y:.2f} [{p.low:.2f}, {p.high:.2f}]"
        parts.append(
            f'<circle class="c{p.color}" cx="{across(p.y):.1f}" cy="{y:.1f}" r="5">'
            f"<title>{escape(tip)}</title></circle>"
        )
    return _svg(height, parts, x_label)


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], x_label: str) -> str:
    """Horizontal bars, grouped by class."""
    lines = sum(len(group) for _, group in groups)
    # Of many methods thinner bars: a chart of thirty classes shall stay a chart.
    left, gap, thick = 176, 10, max(4, 9 - max(len(group) for _, group in groups) // 3)
    height = _TOP + lines * thick + len(groups) * gap + _BOTTOM

    def across(value: float) -> float:
        return left + value / 100 * (WIDTH - left - _RIGHT)

    parts: list[str] = []
    for tick in (0, 25, 50, 75, 100):
        parts.append(_line(across(tick), _TOP, across(tick), height - _BOTTOM, "grid"))
        parts.append(_text(across(tick), height - _BOTTOM + 16, f"{tick}", "middle"))
    parts.append(_text((WIDTH + left) / 2, height - 6, x_label, "middle"))
    y = float(_TOP)
    for name, group in groups:
        middle = y + len(group) * thick / 2 + 4
        parts.append(_text(left - 8, middle, _short(name, 24), "end"))
        for bar in group:
            tip = f"{name}, {bar.label}: {bar.value:.2f}"
            parts.append(
                f'<rect class="c{bar.color}" x="{left}" y="{y:.1f}" '
                f'width="{max(across(bar.value) - left, 0):.1f}" height="{thick - 1.5}">'
                f"<title>{escape(tip)}</title></rect>"
            )
            y += thick
        y += gap
    return _svg(height, parts, x_label)


def _labels(
    places: Sequence[tuple[float, float, str]], rings: Sequence[tuple[float, float]]
) -> list[str]:
    """Names beside points: right of them, else left, else lower, wherever nothing lies yet."""
    parts: list[str] = []
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
        parts.append(_text(left if anchor == "start" else left + wide, below, label, anchor))
    return parts


def _mark(point: Point, x: float, y: float, shade: str) -> str:
    tip = f"{point.label}: {point.y:.2f} at {point.x:.3g}{point.aside}"
    title = f"<title>{escape(tip)}</title>"
    if point.adapts:
        return f'<path class="{shade}" d="M{x:.1f} {y - 7:.1f}l6 7-6 7-6-7z">{title}</path>'
    return f'<circle class="{shade}" cx="{x:.1f}" cy="{y:.1f}" r="5">{title}</circle>'


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


def _y_axis(
    bottom: float, top: float, up: Callable[[float], float], label: str, height: int
) -> str:
    parts: list[str] = []
    for tick in _ticks(bottom, top):
        y = up(tick)
        parts.append(_line(_LEFT, y, WIDTH - _RIGHT, y, "grid"))
        parts.append(_text(_LEFT - 8, y + 4, f"{tick:g}", "end"))
    middle = (height - _BOTTOM + _TOP) / 2
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">{escape(label)}</text>'
    )
    return "".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(text: str, length: int) -> str:
    """At most so many characters; what says that a method is not trained is kept."""
    if len(text) <= length:
        return text
    end = NOT_TRAINED if text.endswith(NOT_TRAINED) else ""
    return f"{text[: length - 1 - len(end)]}…{end}"


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
