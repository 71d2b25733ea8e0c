"""Randomness without a generator: everything is hashed from names.

A :class:`Seed` is a name; a draw is the hash of that name and a label. Nothing has an order or a
state, so adding one draw to a picture never moves the others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .field import PIXELS, Field, eased, fract, length
from .picture import SIDE

T = TypeVar("T")

UNIT: Final = 1.0 / 9007199254740992.0
HALF_UNIT: Final = 1.0 / 4294967296.0
GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
SECOND: Final = np.uint64(0x94D049BB133111EB)

COUNTER: Final = np.arange(1, 2 * SIDE * SIDE).astype(np.uint64) * GOLDEN
"""The states of splitmix64 counted from nought; a seed's word is added to start elsewhere."""

LATTICE: Final = 32
"""Cells after which noise at free coordinates repeats."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A name from which values are drawn, each under a label of its own."""

    name: str

    def sub(self, label: str | int) -> Seed:
        """The seed of a part of this one."""
        return Seed(f"{self.name}/{label}")

    def word(self, label: str) -> int:
        """64 hashed bits."""
        digest = hashlib.sha256(f"{self.name}:{label}".encode()).digest()
        return int.from_bytes(digest[:8], "little")

    def unit(self, label: str) -> float:
        """A value uniform in [0, 1)."""
        return (self.word(label) >> 11) * UNIT

    def between(self, label: str, low: float, high: float) -> float:
        """A value uniform between ``low`` and ``high``."""
        return low + (high - low) * self.unit(label)

    def central(self, label: str, low: float, high: float) -> float:
        """A value between ``low`` and ``high`` with a triangular law: the middle is likelier."""
        half = self.unit(label) + self.unit(label + "'")
        return low + (high - low) * 0.5 * half

    def whole(self, label: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + self.word(label) % (high - low + 1)

    def chance(self, label: str, share: float) -> bool:
        """True in ``share`` of all cases."""
        return self.unit(label) < share

    def pick(self, label: str, options: Sequence[T]) -> T:
        """One of ``options``, all equally likely."""
        return options[self.word(label) % len(options)]

    def units(self, label: str, *shape: int) -> Field:
        """An array of independent values uniform in [0, 1)."""
        words = self.words(label, math.prod(shape))
        return ((words >> np.uint64(11)).view(np.int64).astype(np.float64) * UNIT).reshape(shape)

    def words(self, label: str, count: int) -> NDArray[np.uint64]:
        """``count`` independent 64-bit words, at most 32,767 of them."""
        return splitmix(COUNTER[:count] + np.uint64(self.word(label)))


def splitmix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: a bijection of 64-bit words which leaves no visible pattern."""
    words = words ^ (words >> np.uint64(30))
    words *= FIRST
    words ^= words >> np.uint64(27)
    words *= SECOND
    words ^= words >> np.uint64(31)
    return words


def grain(seed: Seed) -> Field:
    """Independent noise per pixel of the canvas, triangular in [-1, 1], mean 0: [128, 128]."""
    words = seed.words("grain", SIDE * SIDE)
    both = (words >> np.uint64(32)) + (words & np.uint64(0xFFFFFFFF))
    return (both.view(np.int64).astype(np.float64) * HALF_UNIT - 1.0).reshape(SIDE, SIDE)


def smooth_noise(seed: Seed, cell: float, cell_y: float | None = None) -> Field:
    """Value noise on the canvas, in [0, 1]: [128, 128]. ``cell`` is the lattice width in pixels.

    ``cell_y`` stretches the lattice along the other axis.
    """
    row, down = _lattice_steps(seed.unit("y"), cell if cell_y is None else cell_y)
    column, across = _lattice_steps(seed.unit("x"), cell)
    values = seed.units("lattice", int(row[-1]) + 2, int(column[-1]) + 2)
    left = np.take(values, column, axis=1)
    lines = left + (np.take(values, column + 1, axis=1) - left) * across
    upper = lines[row]
    field = lines[row + 1]
    field -= upper
    field *= down[:, None]
    field += upper
    return field


def _lattice_steps(phase: float, cell: float) -> tuple[NDArray[np.int64], Field]:
    place = PIXELS * (1.0 / cell) + phase
    whole = np.floor(place)
    return whole.astype(np.int64), eased(place - whole)


def fractal(
    seed: Seed, cell: float, octaves: int = 4, gain: float = 0.5, *, cell_y: float | None = None
) -> Field:
    """Octaves of :func:`smooth_noise`, each half as wide and ``gain`` as strong; in [0, 1]."""
    total = smooth_noise(seed.sub(0), cell, cell_y)
    weight, sum_of_weights = 1.0, 1.0
    for octave in range(1, octaves):
        shrink = 1.0 / float(1 << octave)
        weight *= gain
        sum_of_weights += weight
        tall = None if cell_y is None else cell_y * shrink
        detail = smooth_noise(seed.sub(octave), cell * shrink, tall)
        detail *= weight
        total += detail
    total *= 1.0 / sum_of_weights
    return total


def noise_at(seed: Seed, u: Field, v: Field, octaves: int = 1) -> Field:
    """Value noise at any coordinates, in [0, 1]; the lattice has width 1.

    Here and below, ``u`` and ``v`` broadcast against each other to the shape of the result.
    """
    total = _noise_at(seed, u, v)
    weight, sum_of_weights = 1.0, 1.0
    for octave in range(1, octaves):
        scale = float(1 << octave)
        weight *= 0.5
        sum_of_weights += weight
        total = total + weight * _noise_at(seed.sub(octave), u * scale, v * scale)
    return total * (1.0 / sum_of_weights)


def _noise_at(seed: Seed, u: Field, v: Field) -> Field:
    values = seed.units("lattice", LATTICE * LATTICE)
    floor_u, floor_v = np.floor(u), np.floor(v)
    s, t = eased(u - floor_u), eased(v - floor_v)
    i, j = floor_u.astype(np.int64), floor_v.astype(np.int64)
    i, i_next = i & (LATTICE - 1), (i + 1) & (LATTICE - 1)
    j, j_next = (j & (LATTICE - 1)) * LATTICE, ((j + 1) & (LATTICE - 1)) * LATTICE
    a, b = np.take(values, i + j), np.take(values, i_next + j)
    c, d = np.take(values, i + j_next), np.take(values, i_next + j_next)
    upper = a + (b - a) * s
    return upper + (c + (d - c) * s - upper) * t


def cells_at(seed: Seed, u: Field, v: Field, jitter: float = 0.7) -> tuple[Field, Field, Field]:
    """Cells around one random point per unit square (Worley noise).

    Gives the distance to the nearest point, to the second nearest, and the nearest one's own value
    in [0, 1). The points stay near the middle of their squares, so that the four squares around a
    place suffice.
    """
    count = LATTICE * LATTICE
    shift_u = 0.5 + (seed.units("u", count) - 0.5) * jitter
    shift_v = 0.5 + (seed.units("v", count) - 0.5) * jitter
    own = seed.units("own", count)
    first_u, first_v = np.floor(u - 0.5), np.floor(v - 0.5)
    column, row = first_u.astype(np.int64), first_v.astype(np.int64)
    off_u, off_v = first_u - u, first_v - v
    near = np.full(np.broadcast_shapes(u.shape, v.shape), 9.0)
    second, tint = near.copy(), np.zeros(near.shape)
    for step_v in range(2):
        line = ((row + step_v) & (LATTICE - 1)) * LATTICE
        for step_u in range(2):
            index = line + ((column + step_u) & (LATTICE - 1))
            away_u = np.take(shift_u, index) + (off_u + step_u)
            away_v = np.take(shift_v, index) + (off_v + step_v)
            away = away_u * away_u + away_v * away_v
            closer = away < near
            np.minimum(second, np.maximum(near, away), out=second)
            np.minimum(near, away, out=near)
            np.copyto(tint, np.take(own, index), where=closer)
    return np.sqrt(near), np.sqrt(second), tint


def dots_at(seed: Seed, u: Field, v: Field, radius: float) -> Field:
    """Distance to the edge of one dot of ``radius`` per unit square (negative inside)."""
    count = LATTICE * LATTICE
    i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    index = (i & (LATTICE - 1)) + (j & (LATTICE - 1)) * LATTICE
    free = 1.0 - 2.0 * radius
    away_u = fract(u) - radius - free * np.take(seed.units("u", count), index)
    away_v = fract(v) - radius - free * np.take(seed.units("v", count), index)
    return length(away_u, away_v) - radius
