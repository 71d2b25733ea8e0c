"""Things: parts with a surface, posed, lit and laid into a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .field import Field, blurred, clamp, direction, step
from .noise import Seed
from .paint import Planes
from .picture import SIDE

LARGEST: Final = 62.0
"""Most pixels per unit a thing is drawn with: beyond it, things leave the canvas."""

SOFT: Final = 3
"""Width of a shadow's soft edge, in pixels."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a thing, covering what lies below it.

    ``distance`` is the signed distance to its outline in the thing's units, ``paint`` its colour.
    ``relief`` is the width of the zone along the outline in which the surface turns away from the
    viewer (0: flat), ``gloss`` the strength of the highlight on that zone.
    """

    distance: Field
    paint: Planes
    relief: float = 0.3
    gloss: float = 0.0


Thing: TypeAlias = Callable[[Seed, Field, Field], Iterable[Part]]
"""Draws a thing at coordinates (u, v) [height, width], back to front."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of thing and its proportions.

    It lies within ``reach`` (of u, of v) to both sides of its middle and covers about ``fill`` of
    the square [-1, 1] x [-1, 1]; it is met turned by at most ``turn`` whole turns.
    """

    draw: Thing
    reach: tuple[float, float]
    fill: float
    turn: float

    @property
    def name(self) -> str:
        """What it is called."""
        return self.draw.__name__


@dataclass(frozen=True, slots=True)
class Pose:
    """How a thing stands before the camera.

    ``scale`` is pixels per unit; then come the turn in whole turns, the narrowing of its width, the
    lean of its upright, and whether it is seen in the mirror.
    """

    scale: float
    turns: float = 0.0
    narrowing: float = 1.0
    lean: float = 0.0
    mirrored: bool = False

    @staticmethod
    def drawn(seed: Seed, kind: Kind, share: float, *, narrowest: float) -> Pose:
        """A pose in which ``kind`` covers about ``share`` of the canvas, where it fits in."""
        narrowing = seed.between("narrowing", narrowest, 1.0)
        scale = math.sqrt(share * SIDE * SIDE / (4.0 * kind.fill * narrowing))
        return Pose(
            min(scale, LARGEST),
            seed.central("turns", -kind.turn, kind.turn),
            narrowing,
            seed.central("lean", -0.25, 0.25),
            mirrored=seed.chance("mirrored", 0.5),
        )

    def patch(self, reach: tuple[float, float]) -> tuple[Field, Field]:
        """Coordinates (u, v) at the pixels of the smallest upright patch round all of ``reach``."""
        cosine, sine = direction(self.turns)
        reach_u = reach[0] * self.narrowing + reach[1] * abs(self.lean)
        x = self._along(reach_u * abs(cosine) + reach[1] * abs(sine))[None, :]
        y = self._along(reach_u * abs(sine) + reach[1] * abs(cosine))[:, None]
        u, v = x * cosine + y * sine, y * cosine - x * sine
        u = (u + v * self.lean) * ((-1.0 if self.mirrored else 1.0) / self.narrowing)
        return u, v

    def _along(self, reach: float) -> Field:
        half = int(reach * self.scale) + 2
        return (np.arange(2 * half).astype(np.float64) + 0.5 - half) * (1.0 / self.scale)


@dataclass(frozen=True, slots=True)
class Light:
    """Where the light comes from, as a unit vector on the screen, and how hard it is."""

    x: float
    y: float
    strength: float

    @staticmethod
    def drawn(seed: Seed) -> Light:
        """Light from somewhere above."""
        x, y = direction(seed.between("from", 0.55, 0.95))
        return Light(x, y, seed.between("strength", 0.25, 0.75))


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn thing: premultiplied colour [3, height, width] and coverage [height, width]."""

    colour: Planes
    alpha: Field

    @property
    def area(self) -> int:
        """Pixels of which the thing covers at least half."""
        return int(np.count_nonzero(self.alpha >= 0.5))


def render(seed: Seed, kind: Kind, pose: Pose, light: Light) -> Sprite:
    """Draw a thing of ``kind`` in ``pose``, trimmed to the pixels it touches."""
    u, v = pose.patch(kind.reach)
    colour = np.zeros((3, *u.shape))
    alpha = np.zeros(u.shape)
    for part in kind.draw(seed, u, v):
        cover = clamp(0.5 - part.distance * pose.scale)
        found = _extent(cover)
        if found is None:
            continue
        rows, columns = found
        cover = cover[rows, columns]
        paint = part.paint if part.paint.shape[1] == 1 else part.paint[:, rows, columns]
        lit = _lit(part, paint, part.distance[rows, columns], pose.scale, light)
        window = colour[:, rows, columns]
        lit -= window
        lit *= cover
        window += lit
        whole = alpha[rows, columns]
        whole += (1.0 - whole) * cover
    found = _extent(alpha)
    if found is None:
        raise ValueError(f"{kind.name} covers no pixel at {pose.scale} pixels per unit")
    return Sprite(colour[:, found[0], found[1]], alpha[found])


def _extent(cover: Field) -> tuple[slice, slice] | None:
    """The smallest window which holds all that is covered, and a pixel round it."""
    touched = cover > 0.0
    rows = np.flatnonzero(touched.any(axis=1))
    columns = np.flatnonzero(touched.any(axis=0))
    if rows.size == 0:
        return None
    return (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )


def _lit(part: Part, paint: Planes, distance: Field, scale: float, light: Light) -> Planes:
    """The paint under the light, [3, height, width]: bright and dark where the rim bends away."""
    if part.relief == 0.0:
        return paint + np.zeros(distance.shape)
    slope_x, slope_y = np.zeros(distance.shape), np.zeros(distance.shape)
    slope_x[:, 1:-1] = distance[:, 2:] - distance[:, :-2]
    slope_y[1:-1] = distance[2:] - distance[:-2]
    bend = clamp(1.0 + distance * (1.0 / part.relief))
    bend *= bend
    tilt = bend * (0.5 * scale)
    slope_x *= tilt
    slope_y *= tilt
    shade = slope_x * (light.x * light.strength)
    shade += slope_y * (light.y * light.strength)
    shade -= 0.18 * bend
    shade += 1.0
    lit = paint * shade
    if part.gloss:
        slope_x -= 0.45 * light.x
        slope_y -= 0.45 * light.y
        slope_x *= slope_x
        slope_y *= slope_y
        lit += part.gloss * step(0.09, 0.0, slope_x + slope_y)
    return lit


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sprite's upper left corner lies on the canvas, in pixels; it may lie outside."""

    row: int
    column: int

    def windows(self, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of the canvas a sprite of this size meets, and the sprite's part upon it."""
        top, left = max(self.row, 0), max(self.column, 0)
        bottom = max(min(self.row + height, SIDE), top)
        right = max(min(self.column + width, SIDE), left)
        on_canvas = slice(top, bottom), slice(left, right)
        on_sprite = (
            slice(top - self.row, bottom - self.row),
            slice(left - self.column, right - self.column),
        )
        return on_canvas, on_sprite


def stamp(planes: Planes, labels: NDArray[np.uint8], sprite: Sprite, at: Place, label: int) -> None:
    """Lay a sprite over a picture and write its label, both in place."""
    (rows, columns), (own_rows, own_columns) = at.windows(*sprite.alpha.shape)
    alpha = sprite.alpha[own_rows, own_columns]
    window = planes[:, rows, columns]
    window *= 1.0 - alpha
    window += sprite.colour[:, own_rows, own_columns]
    labels[rows, columns][alpha >= 0.5] = label


def cast_shadow(planes: Planes, sprite: Sprite, at: Place, light: Light) -> None:
    """Darken the ground beside a sprite, away from the light, in place."""
    height, width = sprite.alpha.shape
    shade = np.zeros((height + 2 * SOFT, width + 2 * SOFT))
    shade[SOFT:-SOFT, SOFT:-SOFT] = sprite.alpha * (0.35 + 0.3 * light.strength)
    shifted = Place(at.row - SOFT - int(light.y * 6.0), at.column - SOFT - int(light.x * 6.0))
    (rows, columns), own = shifted.windows(*shade.shape)
    planes[:, rows, columns] *= 1.0 - blurred(shade, SOFT)[own]
