"""Scalar fields over the canvas, and the few functions all drawing is made of.

Every function here uses only +, -, *, /, floor, sqrt, comparisons, minimum, maximum and where on
float64. IEEE 754 fixes their results to the last bit, so a picture is the same on every machine;
the transcendental functions of numpy are not fixed and differ between versions and processors.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .picture import SIDE

Field: TypeAlias = NDArray[np.float64]
"""A float64 array, most often [height, width]: coordinates, distances, coverages, brightnesses."""

QUARTER_TURN: Final = 1.5707963267948966

PIXELS: Final[Field] = np.arange(SIDE).astype(np.float64) + 0.5
"""Coordinates of the pixel centres along one side of the canvas: [128]."""
PIXELS.setflags(write=False)

MIDDLE: Final[Field] = np.full((1, 1), 0.5)
"""A coordinate which is the same everywhere, for noise that varies along one axis only."""
MIDDLE.setflags(write=False)


def grid() -> tuple[Field, Field]:
    """Coordinates of the pixel centres of the whole canvas, in pixels: x [1, 128] and y [128, 1].

    They broadcast against each other; x grows to the right, y downwards.
    """
    return PIXELS[None, :], PIXELS[:, None]


def fract(x: Field) -> Field:
    """The part of ``x`` behind the point, in [0, 1)."""
    return x - np.floor(x)


def clamp(x: Field, low: float = 0.0, high: float = 1.0) -> Field:
    """``x`` held between ``low`` and ``high``."""
    return np.clip(x, low, high)


def lerp(start: Field | float, end: Field | float, t: Field) -> Field:
    """``start`` where ``t`` is 0, ``end`` where it is 1, a line between."""
    between = (end - start) * t
    between += start
    return between


def eased(t: Field) -> Field:
    """The cubic which rises from 0 to 1 with no slope at either end, for ``t`` in [0, 1]."""
    rest = 3.0 - 2.0 * t
    rest *= t
    rest *= t
    return rest


def step(low: float, high: float, x: Field) -> Field:
    """A smooth step from 0 at ``low`` to 1 at ``high``; ``low`` may lie above ``high``."""
    return eased(clamp((x - low) * (1.0 / (high - low))))


def wave(x: Field) -> Field:
    """A smooth periodic wave between 0 and 1: 0 at every integer, 1 half way between."""
    return eased(1.0 - np.abs(2.0 * fract(x) - 1.0))


def length(x: Field, y: Field) -> Field:
    """Euclidean length of the vectors (x, y)."""
    return np.sqrt(x * x + y * y)


def direction(turns: float) -> tuple[float, float]:
    """Cosine and sine of an angle given in whole turns, right to better than 1e-6.

    The truncated series replaces ``math.cos``, whose last bit depends on the C library.
    """
    quarters = math.floor(turns * 4.0 + 0.5)
    x = (turns * 4.0 - quarters) * QUARTER_TURN
    s = x * x
    sine = x * (1.0 - s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0)))
    cosine = 1.0 - s / 2.0 * (1.0 - s / 12.0 * (1.0 - s / 30.0 * (1.0 - s / 56.0)))
    return ((cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine))[quarters % 4]


def turned(x: Field, y: Field, turns: float) -> tuple[Field, Field]:
    """Coordinates in a frame which is turned by ``turns`` (clockwise on the screen)."""
    cosine, sine = direction(turns)
    return x * cosine + y * sine, y * cosine - x * sine


def harmonic(x: Field, y: Field, order: int) -> tuple[Field, Field]:
    """Cosine and sine of ``order`` times the polar angle of (x, y), without any angle.

    Powers of the unit vector, as a complex number, carry the multiples of its angle.
    """
    scale = 1.0 / np.maximum(length(x, y), 1e-9)
    unit_x, unit_y = x * scale, y * scale
    cosine, sine = unit_x, unit_y
    for _ in range(order - 1):
        cosine, sine = cosine * unit_x - sine * unit_y, cosine * unit_y + sine * unit_x
    return cosine, sine


def blurred(field: Field, radius: int, passes: int = 1) -> Field:
    """A box blur over the last two axes; the border repeats. ``passes`` of 2 or 3 look Gaussian."""
    for _ in range(passes):
        field = _box_mean(_box_mean(field, radius, -1), radius, -2)
    return field


def _box_mean(field: Field, radius: int, axis: int) -> Field:
    # Whole shifted arrays are added one after the other: a fixed order, which np.sum does not have.
    size: int = field.shape[axis]
    reach = np.minimum(np.maximum(np.arange(-radius, size + radius), 0), size - 1)
    wide = np.take(field, reach, axis=axis)
    shifts = [_window(wide, start, size, axis) for start in range(2 * radius + 1)]
    total = shifts[0] + shifts[1]
    for shift in shifts[2:]:
        total += shift
    total *= 1.0 / (2 * radius + 1)
    return total


def _window(field: Field, start: int, size: int, axis: int) -> Field:
    span = slice(start, start + size)
    return field[..., span] if axis == -1 else field[..., span, :]


def lowest(field: Field, share: float, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of ``among`` with the lowest values: ``share`` of the whole canvas, as a mask."""
    values = field[among]
    count = min(int(share * field.size), values.size)
    if count == 0:
        return np.zeros(field.shape, dtype=np.bool_)
    bound = np.partition(values, count - 1)[count - 1]
    return among & (field <= bound)
