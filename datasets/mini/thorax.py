"""The parts of a chest film, as fields over the canvas.

Coordinates are those of the chest: v from about -0.75 at the tops of the lungs to 0.5 at their
bases, u from the mid-line, growing to the right of the film (the patient's left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .field import Field, clamp, length, step, turned, wave
from .noise import Seed, cells_at, fractal, noise_at
from .shapes import ellipse, rod


@dataclass(frozen=True, slots=True)
class Build:
    """The proportions of one patient, in chest units."""

    wide: float
    apex: float
    base: float
    dome: float
    heart: float
    spine: float

    @staticmethod
    def drawn(seed: Seed) -> Build:
        """A patient."""
        return Build(
            wide=seed.central("wide", 0.62, 0.84),
            apex=seed.central("apex", -0.84, -0.62),
            base=seed.central("base", 0.36, 0.66),
            dome=seed.central("dome", 0.1, 0.3),
            heart=seed.central("heart", 0.22, 0.44),
            spine=seed.central("spine", 0.085, 0.13),
        )


def lungs(seed: Seed, build: Build, u: Field, v: Field) -> Field:
    """Signed distance to the outline of both lungs, negative inside, in chest units."""
    side = np.abs(u)
    left = step(-0.02, 0.02, u)
    rise = clamp((build.base - v) * (1.0 / (build.base - build.apex)), 0.0, 1.2)
    wall = build.wide * np.sqrt(clamp(1.0 - 0.78 * rise * rise * rise, 0.05))
    wall = wall - seed.between("flare", -0.02, 0.1) * (1.0 - rise) * (1.0 - rise)
    hilum = seed.between("hilum", 0.02, 0.06) * step(0.3, 0.0, np.abs(v + 0.08))
    heart = length((u - 0.08) * (1.0 / build.heart), (v - 0.3) * (1.0 / 0.36)) - 1.0
    knob = length(u - 0.1, (v + 0.3) * 0.9) - seed.between("knob", 0.07, 0.13)
    middle = build.spine + 0.03 + 0.05 * clamp(v) + hilum - side
    middle = np.where(u > 0.0, np.maximum(middle, np.maximum(-0.36 * heart, -knob)), middle)
    peak = 0.34 * build.wide + 0.06
    top = build.apex + 1.7 * (side - peak) * (side - peak) - v
    lower = build.base - build.dome * (1.0 - (side - 0.36) * (side - 0.36) * 8.0)
    lower = lower + (seed.between("left", -0.02, 0.07)) * left - seed.between("tilt", -0.03, 0.03)
    return np.maximum(np.maximum(side - wall, middle), np.maximum(top, v - lower))


def skeleton(seed: Seed, build: Build, u: Field, v: Field) -> tuple[Field, Field]:
    """What the bones add to the brightness: ribs (most in the lungs), and the rest."""
    side = np.abs(u)
    spacing = seed.between("spacing", 0.135, 0.185)
    sag = seed.between("sag", 0.5, 0.95)
    behind = (v - 0.12 * side - sag * side * side) * (1.0 / spacing) + seed.unit("phase")
    before = (v + 0.55 * side - 0.3 * side * side) * (1.0 / (1.25 * spacing)) + seed.unit("front")
    cage = step(build.wide + 0.14, build.wide - 0.04, side) * step(build.base + 0.15, 0.1, v)
    back_ribs = _rib(behind) * step(0.06, 0.16, side)
    front_ribs = _rib(before) * step(0.22, 0.4, side) * step(-0.6, -0.3, v)
    ribs = cage * (0.75 * back_ribs + 0.5 * front_ribs)
    vertebrae = 0.7 + 0.3 * wave(v * seed.between("discs", 6.0, 8.0))
    bones = step(build.spine + 0.03, build.spine - 0.04, side) * vertebrae
    slope = seed.between("shrug", 0.02, 0.2)
    inner = seed.between("clavicle", -0.62, -0.5)
    for sign in (-1.0, 1.0):
        start = (0.07 * sign, inner + 0.03)
        collar = rod(u, v, start, ((build.wide + 0.08) * sign, inner - slope), 0.035, 0.045)
        bones = bones + 0.55 * step(0.015, -0.015, collar)
        blade = np.abs(ellipse(u, v, (build.wide + 0.1) * sign, -0.35, 0.22, 0.36)) - 0.015
        bones = bones + 0.25 * step(0.03, 0.0, blade)
    return ribs, bones


def _rib(course: Field) -> Field:
    """A band which is brightest along its edges, as the cortex of a rib is."""
    t = wave(course)
    return step(0.45, 0.65, t) * (1.0 - 0.45 * step(0.75, 1.0, t))


def vessels(seed: Seed, u: Field, v: Field) -> Field:
    """The branching shadows round the roots of the lungs, in [0, 1]."""
    away = length(np.abs(u) - 0.14, v + 0.04)
    web = 1.0 - np.abs(2.0 * noise_at(seed, u * 9.0, v * 9.0, octaves=2) - 1.0)
    return step(0.62, 0.95, web) * step(0.55, 0.05, away)


def opacity(seed: Seed, u: Field, v: Field) -> Field:
    """Disease, in [0, 1]: consolidation, patches, nodules or a net, in one place or all over."""
    kind = seed.pick(
        "kind", ("consolidation", "consolidation", "patches", "patches", "net", "nodules")
    )
    at_u = seed.pick("side", (-1.0, 1.0)) * seed.between("u", 0.25, 0.5)
    where = length((u - at_u) * 0.9, (v - seed.between("v", -0.4, 0.4)) * 0.7)
    spread = step(seed.between("size", 0.25, 0.7), 0.0, where)
    clouds = fractal(seed.sub("clouds"), 22.0, 4)
    if kind == "consolidation":
        return clamp(spread * (0.6 + 0.9 * clouds))
    if kind == "patches":
        return step(0.45, 0.75, clouds) * (0.35 + 0.65 * spread)
    near, second, own = cells_at(
        seed.sub("cells"), u * 14.0 + 3.0 * clouds, v * 14.0 + 3.0 * clouds, 0.95
    )
    if kind == "net":
        return 0.6 * step(0.4, 0.0, second - near) * (0.3 + 0.7 * spread) * (0.4 + 1.2 * clouds)
    return 0.6 * step(0.32, 0.1, near) * step(0.55, 0.6, own) * (0.3 + 0.7 * spread)


def torso(seed: Seed, u: Field, v: Field) -> Field:
    """Signed distance to the body's outline: trunk, shoulders and neck."""
    trunk = np.abs(u) - seed.between("girth", 0.95, 1.4) - 0.1 * v
    out = clamp(np.abs(u) - 0.26, 0.0, 2.0)
    shoulder = -0.94 + 0.1 * out + seed.between("drop", 0.25, 0.7) * out * out - v
    throat = np.maximum(np.abs(u) - 0.3, v + 0.8)
    return np.minimum(np.maximum(trunk, shoulder), throat)


def chest_frame(seed: Seed, x: Field, y: Field) -> tuple[Field, Field]:
    """Chest coordinates (u, v) of the pixels (x, y), for one way of standing before the film."""
    scale = 1.0 / seed.central("size", 53.0, 76.0)
    u = (x - 64.0 - seed.central("x", -17.0, 17.0)) * scale
    v = (y - 66.0 - seed.central("y", -15.0, 15.0)) * scale
    u, v = turned(u, v, seed.central("tilt", -0.035, 0.035))
    return u, v
