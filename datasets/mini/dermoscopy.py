"""What a dermatoscope shows around a lesion: skin, hairs, liquid, and the marks of the practice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .field import blurred, clamp, fract, grid, length, step, turned
from .noise import Seed, cells_at, dots_at, fractal, grain, smooth_noise
from .paint import Planes, colour, over, pick_colour
from .picture import SIDE

TONES = "ecd6c8 e6bfae d9a68e d29a72 de9088 c79a8a b58c80 cfc4cc e9dccb b98a66 d8b4a8 e3c9b4 a9836c"
"""Skin under polarised and unpolarised light, from very fair to tanned."""


def skin(seed: Seed) -> Planes:
    """Bare skin [3, 128, 128]: tone, blotches of redness, fine creases, light from one side."""
    x, y = grid()
    tone = pick_colour(seed.sub("tone"), TONES, 0.06)
    flush = fractal(seed.sub("flush"), 46.0, 3) - 0.5
    planes = tone * (1.0 + 0.16 * (smooth_noise(seed.sub("light"), 90.0) - 0.5))
    redness = seed.between("redness", 0.0, 0.5)
    planes[1:] *= 1.0 - redness * clamp(flush, 0.0, 0.5)
    size = 1.0 / seed.between("creases", 4.0, 7.5)
    bend = 3.0 * flush
    near, second, _ = cells_at(
        seed.sub("creases"), x * size + bend + 9.0, y * (0.7 * size) + bend + 9.0
    )
    planes *= 1.0 - seed.between("relief", 0.0, 0.022) * step(0.3, 0.0, second - near)
    planes *= 1.0 + 0.03 * (blurred(grain(seed.sub("pores")), 1))
    if seed.chance("freckled", 0.1):
        size = 1.0 / seed.between("freckles", 11.0, 17.0)
        away = dots_at(seed.sub("freckles"), x * size + 0.4 * flush, y * size + 0.4 * flush, 0.12)
        over(planes, tone * colour("b88a72"), 0.55 * step(0.1, -0.12, away + 0.5 * flush))
    return planes


def hairs(seed: Seed, planes: Planes) -> None:
    """Draw a few to many hairs over the picture, in place."""
    x, y = grid()
    count = seed.whole("count", 2, 13)
    main = seed.unit("main")
    shade = pick_colour(seed.sub("shade"), "2a1c14 3f2c20 6a5038 1a1412")
    nearest = np.full((SIDE, SIDE), 9.0)
    for hair in range(count):
        own = seed.sub(hair)
        turn = main + own.central("turn", -0.16, 0.16)
        u, v = turned(x - own.between("x", 0.0, 128.0), y - own.between("y", 0.0, 128.0), turn)
        bow = np.abs(v - own.between("bow", -0.006, 0.006) * u * u)
        bow += np.maximum(np.abs(u) - own.between("half", 18.0, 80.0), 0.0)
        np.minimum(nearest, bow - own.between("thick", -0.25, 0.35), out=nearest)
    over(planes, shade, clamp(1.0 - nearest) * seed.between("dense", 0.5, 0.9))


def ruler(seed: Seed, planes: Planes) -> None:
    """The scale engraved in the glass: a line with ticks, in place."""
    x, y = grid()
    turn = seed.pick("turn", (0.0, 0.0, 0.5, 0.25, 0.03, -0.04, 0.12))
    u, v = turned(x - 64.0, y - 64.0, turn)
    at, start = seed.between("at", 36.0, 56.0), seed.between("start", -44.0, -10.0)
    span = seed.between("span", 34.0, 62.0)
    period = seed.between("period", 2.6, 4.4)
    inside = clamp(span * 0.5 - np.abs(u - start - span * 0.5))
    line = clamp(1.1 - np.abs(v - at))
    tick = clamp(1.0 - np.abs(fract((u - start) * (1.0 / period)) - 0.5) * period)
    tick *= clamp(2.0 - np.abs(v - at + 2.0))
    over(planes, colour("2a2624"), inside * np.maximum(line, 0.8 * tick) * 0.75)


def bubbles(seed: Seed, planes: Planes) -> None:
    """Air in the immersion liquid: bright rims with a glint, in place."""
    x, y = grid()
    for bubble in range(seed.whole("count", 2, 9)):
        own = seed.sub(bubble)
        radius = own.central("radius", 1.5, 8.0)
        away = length(x - own.between("x", 0.0, 128.0), y - own.between("y", 0.0, 128.0)) - radius
        rim = step(1.3, 0.2, np.abs(away))
        planes *= 1.0 + 0.08 * step(0.5, -0.5, away)
        over(planes, colour("f6f2ee"), rim * own.between("bright", 0.15, 0.6))


def ink(seed: Seed, planes: Planes) -> None:
    """Violet marks of a surgeon's pen, in place."""
    x, y = grid()
    rough = fractal(seed.sub("rough"), 6.0, 2)
    for mark in range(seed.whole("marks", 1, 3)):
        own = seed.sub(mark)
        u, v = turned(x - 64.0, y - 64.0, own.unit("side"))
        reach = own.between("reach", 34.0, 58.0)
        long = own.between("long", 4.0, 16.0)
        away = np.abs(length(u, v) - reach) - 1.2 + np.maximum(np.abs(v) - long, 0.0)
        stroke = step(1.2, -0.6, away + 3.0 * (rough - 0.5)) * step(0.0, 4.0, u)
        over(planes, colour("5a3f8a"), 0.6 * stroke)


def shine(seed: Seed, planes: Planes) -> None:
    """Blurred reflections of the lamps at two sides, in place."""
    x, y = grid()
    u, v = turned(x - 64.0, y - 64.0, seed.unit("side"))
    away = length(np.abs(u) - seed.between("at", 56.0, 70.0), v * 0.8)
    over(planes, colour("fcfaf6"), step(seed.between("size", 12.0, 26.0), 2.0, away) * 0.85)


def sticker(seed: Seed, planes: Planes) -> NDArray[np.bool_]:
    """A coloured patch at the border of the field of view, in place; what it hides."""
    x, y = grid()
    u, v = turned(x - 64.0, y - 64.0, seed.unit("side"))
    radius = seed.between("radius", 22.0, 46.0)
    away = length(u - radius - seed.between("out", 34.0, 52.0), v * 0.85) - radius
    paper = pick_colour(seed.sub("paper"), "1f86c8 e8d21a e8801a 3aa860 b8b4e0 d84a3a")
    sheen = 0.95 + 0.1 * smooth_noise(seed.sub("sheen"), 30.0)
    over(planes, paper * sheen, step(0.8, -0.8, away))
    if seed.chance("core", 0.3):
        over(planes, colour("28a060"), step(0.8, -0.8, away + 0.4 * radius))
    return away < 0.0


def tube(seed: Seed, planes: Planes) -> NDArray[np.bool_]:
    """The dark wall round a circular field of view, in place; what it hides."""
    x, y = grid()
    away = length(x - 64.0 - seed.central("x", -6.0, 6.0), y - 64.0 - seed.central("y", -6.0, 6.0))
    radius = seed.between("radius", 58.0, 82.0)
    soft = seed.between("soft", 1.5, 14.0)
    over(planes, colour("0a0808"), step(radius - soft, radius + soft, away))
    return away > radius + 0.5 * soft
