"""Signed distances to the outlines things are built of: negative inside, in units of x and y.

Shapes combine with ``np.minimum`` (union), ``np.maximum`` (intersection), :func:`cut` and
:func:`fused`. Every ``x`` and ``y`` is a field of coordinates, x to the right and y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from .field import Field, clamp, harmonic, length


def disc(x: Field, y: Field, at_x: float, at_y: float, radius: float) -> Field:
    """A disc."""
    return length(x - at_x, y - at_y) - radius


def ellipse(x: Field, y: Field, at_x: float, at_y: float, half_x: float, half_y: float) -> Field:
    """An ellipse with axes along x and y; the distance is right to first order at the outline."""
    far_x, far_y = (x - at_x) * (1.0 / half_x), (y - at_y) * (1.0 / half_y)
    reach = length(far_x, far_y)
    slope = length(far_x * (1.0 / half_x), far_y * (1.0 / half_y))
    return reach * (reach - 1.0) / np.maximum(slope, 1e-6)


def box(
    x: Field,
    y: Field,
    at_x: float,
    at_y: float,
    half_x: float,
    half_y: float,
    round_by: float = 0.0,
) -> Field:
    """A rectangle along the axes, its corners rounded by ``round_by``."""
    out_x = np.abs(x - at_x) - (half_x - round_by)
    out_y = np.abs(y - at_y) - (half_y - round_by)
    outside = length(np.maximum(out_x, 0.0), np.maximum(out_y, 0.0))
    return outside + np.minimum(np.maximum(out_x, out_y), 0.0) - round_by


def rod(
    x: Field,
    y: Field,
    start: tuple[float, float],
    end: tuple[float, float],
    radius: float,
    end_radius: float | None = None,
) -> Field:
    """A round-ended bar from ``start`` to ``end``, tapering to ``end_radius`` where given."""
    over_x, over_y = end[0] - start[0], end[1] - start[1]
    away_x, away_y = x - start[0], y - start[1]
    along = clamp((away_x * over_x + away_y * over_y) * (1.0 / (over_x * over_x + over_y * over_y)))
    distance = length(away_x - over_x * along, away_y - over_y * along)
    return distance - (radius if end_radius is None else radius + (end_radius - radius) * along)


def convex(x: Field, y: Field, corners: Sequence[tuple[float, float]]) -> Field:
    """A convex polygon, its ``corners`` in either sense of rotation."""
    (ax, ay), (bx, by), (cx, cy) = corners[:3]
    sense = 1.0 if (bx - ax) * (cy - ay) > (by - ay) * (cx - ax) else -1.0
    sides: list[Field] = []
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
        over_x, over_y = bx - ax, by - ay
        scale = sense / math.sqrt(over_x * over_x + over_y * over_y)
        sides.append((x - ax) * (over_y * scale) - (y - ay) * (over_x * scale))
    return reduce(np.maximum, sides)


def arc(x: Field, y: Field, at_x: float, at_y: float, radius: float, thickness: float) -> Field:
    """A ring of ``radius`` whose line is ``thickness`` wide."""
    return np.abs(length(x - at_x, y - at_y) - radius) - 0.5 * thickness


def petals(x: Field, y: Field, count: int, radius: float, depth: float) -> Field:
    """A rosette: ``count`` times round the middle the radius swings by the share ``depth``."""
    cosine, _ = harmonic(x, y, count)
    return (length(x, y) - radius * (1.0 + depth * cosine)) * 0.8


def lens(x: Field, y: Field, half_width: float, half_height: float) -> Field:
    """A pointed leaf, upright round the origin: the overlap of two discs."""
    shift = (half_height * half_height - half_width * half_width) / (2.0 * half_width)
    return length(np.abs(x) + shift, y) - (shift + half_width)


def cut(shape: Field, hole: Field) -> Field:
    """``shape`` without ``hole``."""
    return np.maximum(shape, -hole)


def fused(first: Field, second: Field, fillet: float) -> Field:
    """The union of two shapes with the inner corner filled over the length ``fillet``."""
    near = np.maximum(fillet - np.abs(first - second), 0.0)
    return np.minimum(first, second) - near * near * (0.25 / fillet)
