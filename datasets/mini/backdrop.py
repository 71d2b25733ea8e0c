"""Scenes to put things into: each paints the whole canvas, [3, 128, 128]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from .field import MIDDLE, Field, clamp, grid, lerp, step, turned, wave
from .noise import Seed, cells_at, dots_at, fractal, noise_at, smooth_noise
from .paint import Planes, colour, mix, over, pick_colour
from .picture import SIDE
from .texture import bands, bricks, checks, crackle, polka, weave, wood, zigzag


def sky(seed: Seed) -> Planes:
    """Clear, clouded, or an evening: no ground."""
    high = pick_colour(seed.sub("high"), "5a8ac8 8aa8c4 a8b0b8 3a5a98 6a5a88 c0c8cc")
    low = pick_colour(seed.sub("low"), "c8dce8 e8d8c0 d0d4d8 f0b888 b8c8d4")
    cloud = pick_colour(seed.sub("cloud"), "f4f4f2 d8d4d0 b0aeb4 f0d8c8")
    _, y = grid()
    billows = fractal(seed.sub("clouds"), 60.0, 4, cell_y=30.0)
    cover = seed.between("cover", 0.42, 0.75)
    planes = mix(high, low, y * (1.0 / SIDE))
    return mix(planes, cloud * (0.75 + 0.35 * billows), step(cover, cover + 0.16, billows))


def meadow(seed: Seed) -> Planes:
    """Sky, a line of trees and grass."""
    _, far, depth = _ground(seed)
    grass = pick_colour(seed.sub("grass"), "5a8a34 7a9a4a 9a9a52 4a6f34 b0a468 86a04e")
    blades = noise_at(seed.sub("blades"), far * 5.0, depth * 1.2, octaves=2)
    tufts = fractal(seed.sub("tufts"), 20.0, 3, cell_y=7.0)
    planes = sky(seed.sub("sky"))
    over(planes, *_woods(seed.sub("woods"), _horizon(seed)))
    lawn = grass * (0.35 + 0.8 * blades + 0.45 * tufts)
    over(planes, lawn, _below(seed))
    return planes


def sea(seed: Seed) -> Planes:
    """Sky over water with swell and glints."""
    _, far, depth = _ground(seed)
    water = pick_colour(seed.sub("water"), "2f5a7a 4a7a88 5a7a6a 3a4f6a 6a8494")
    swell = noise_at(seed.sub("swell"), far * 1.0, depth * 5.0, octaves=3)
    planes = sky(seed.sub("sky"))
    shine = step(0.6, 0.8, swell) * seed.between("glint", 0.1, 0.7)
    surface = mix(water * (0.55 + 0.8 * swell), colour("eaf2f4"), shine)
    over(planes, surface, _below(seed))
    return planes


def street(seed: Seed) -> Planes:
    """A wall of brick or plaster and a pavement in perspective."""
    planes = _wall(seed.sub("wall"))
    _, far, depth = _ground(seed)
    stone = pick_colour(seed.sub("stone"), "8a8884 a09a8e 6a6a6e b0a898 585a5e")
    rough = noise_at(seed.sub("rough"), far * 6.0, depth * 6.0)
    joints = bands(far * 0.8, 1.0) if seed.chance("asphalt", 0.4) else _grooves(far, depth)
    paving = stone * (0.7 + 0.35 * rough) * (1.0 - 0.3 * joints)
    over(planes, paving, _below(seed))
    return planes


def room(seed: Seed) -> Planes:
    """Wallpaper, a frame on the wall, and a floor or table of boards."""
    x, y = grid()
    planes = _wallpaper(seed.sub("paper"))
    for frame in range(seed.whole("frames", 0, 2)):
        place = seed.sub(f"frame{frame}")
        out_x = np.abs(x - place.between("x", 5.0, 123.0)) - place.between("wide", 9.0, 26.0)
        out_y = np.abs(y - place.between("y", 0.0, 50.0)) - place.between("high", 9.0, 26.0)
        out = np.maximum(out_x, out_y)
        picture = pick_colour(place.sub("a"), "4a6a8a d8c8a0 f0f0ea 2a2a2e 8a5a3a 9ab0b8")
        other = pick_colour(place.sub("b"), "2f4a2f c89a60 d0d8e0 6a7a84 a8503a")
        view = mix(picture, other, step(0.42, 0.58, smooth_noise(place, 18.0)))
        over(
            planes, pick_colour(place.sub("edge"), "5a3a22 e8e4dc 20201e b08a4a"), clamp(1.0 - out)
        )
        over(planes, view, clamp(-2.0 - out))
    _, far, depth = _ground(seed)
    board = pick_colour(seed.sub("board"), "9a6a3e c09a6a 5a3a26 8a7a68 b8a48a 6a6a70")
    grain = wood(seed.sub("wood"), depth * 0.5, far * 1.2)
    boards = board * (0.6 + 0.5 * grain) * (1.0 - 0.4 * step(0.1, 0.02, wave(far * 0.7)))
    over(planes, boards, _below(seed))
    return planes


def foliage(seed: Seed) -> Planes:
    """Leaves close by, in and out of the light."""
    x, y = grid()
    size = 1.0 / seed.between("size", 7.0, 16.0)
    u, v = turned(x * size, y * (size * 0.6), seed.unit("turn"))
    near, second, own = cells_at(seed.sub("leaves"), u + 11.0, v + 11.0)
    leaf = pick_colour(seed.sub("leaf"), "4a7a2f 2f5f34 7a8f3a 6a5a2f 3a5a4a 98863a")
    light = fractal(seed.sub("light"), 50.0, 2)
    shade = (0.25 + 0.55 * own + 0.5 * (second - near)) * (0.4 + 1.1 * light)
    return leaf * shade


def gravel(seed: Seed) -> Planes:
    """Sand, pebbles or soil seen from above."""
    x, y = grid()
    size = 1.0 / seed.between("size", 3.5, 11.0)
    near, second, own = cells_at(seed.sub("stones"), x * size, y * size)
    stone = pick_colour(seed.sub("stone"), "b8a88a 8a8680 d8c49a 6a5a4a a08a78 c8c4bc")
    patches = fractal(seed.sub("patches"), 40.0, 3)
    relief = step(0.0, 0.45, second - near)
    return stone * ((0.5 + 0.35 * own) * (0.55 + 0.6 * relief) + 0.35 * patches)


def cloth(seed: Seed) -> Planes:
    """Patterned fabric with folds."""
    first = pick_colour(seed.sub("first"), "c8b8a0 3a5a8a a83a3a e8e0d4 4a6a5a d0a860 6a4a6a")
    second = pick_colour(seed.sub("second"), "f0ece4 22304a 6a2430 c8a87a 8aa09a 2a2a2a")
    x, y = grid()
    folds = fractal(seed.sub("folds"), 70.0, 2, cell_y=26.0)
    scale = 1.0 / seed.between("period", 9.0, 24.0)
    u, v = turned(x * scale + 2.0 * folds, y * scale + folds, seed.unit("turn"))
    pattern = _pattern(seed, u, v)
    threads = 0.9 + 0.15 * weave(x * 0.25, y * 0.25)
    return mix(first, second, pattern * seed.between("ink", 0.25, 0.9)) * (
        (0.45 + 0.9 * folds) * threads
    )


def planks(seed: Seed) -> Planes:
    """Boards from above."""
    timber = pick_colour(seed.sub("timber"), "9a6a3e c8a070 5f4028 8a8078 d8c4a4 7a4a30")
    x, y = grid()
    turns = seed.pick("turn", (0.0, 0.25)) + seed.central("tilt", -0.06, 0.06)
    u, v = turned(x * (1.0 / 40.0), y * (1.0 / 40.0), turns)
    count = seed.between("boards", 1.0, 2.6)
    board = np.floor(v * count)
    grain = wood(seed.sub("wood"), u + 0.37 * board + 9.0, v * 2.0 + 0.61 * board)
    own = noise_at(seed.sub("own"), board * 3.0 + 0.5, MIDDLE)
    gap = step(0.06, 0.02, np.abs(v * count - np.floor(v * count + 0.5)))
    return timber * (0.45 + 0.45 * grain + 0.4 * own) * (1.0 - 0.6 * gap)


def lights(seed: Seed) -> Planes:
    """A night behind the depth of field: coloured discs of blur."""
    x, y = grid()
    base = pick_colour(seed.sub("base"), "1a1c2a 2a1c18 12201e 2e2a30")
    glow = pick_colour(seed.sub("glow"), "f0b060 f07a50 70a0e0 e8e0c0")
    other = pick_colour(seed.sub("other"), "5ac0a0 e0507a f0d880 90b0f0")
    planes = base * (0.6 + 0.9 * fractal(seed.sub("dark"), 50.0, 3))
    for layer, lamp in enumerate((glow, other)):
        size = 1.0 / seed.between(f"size{layer}", 16.0, 34.0)
        away = dots_at(seed.sub(layer), x * size, y * size, 0.28)
        over(planes, lamp, step(0.03, -0.04, away) * seed.between(f"lit{layer}", 0.25, 0.7))
    return planes


def studio(seed: Seed) -> Planes:
    """A seamless paper with a pool of light."""
    paper = pick_colour(seed.sub("paper"), "e8e6e2 c8ccd0 8a94a0 d8c8b0 4a4e56 b0c0b0 d0a8a0")
    x, y = grid()
    x, y = (
        x * (1.0 / 64.0) - seed.between("x", 0.5, 1.5),
        y * (1.0 / 64.0) - seed.between("y", 0.2, 1.4),
    )
    return paper * (1.1 - seed.between("fall", 0.15, 0.4) * (x * x + y * y))


def rocks(seed: Seed) -> Planes:
    """Cracked slabs with moss or snow."""
    x, y = grid()
    size = 1.0 / seed.between("size", 18.0, 36.0)
    bend = fractal(seed.sub("bend"), 24.0, 3)
    cracks, own = crackle(seed.sub("slabs"), x * size + 0.7 * bend, y * size + 0.7 * bend, 0.08)
    stone = pick_colour(seed.sub("stone"), "8a8680 a89880 6a6e74 7a6a5a b8b0a4")
    moss = pick_colour(seed.sub("moss"), "6a7a3a e8ecf0 8a7a4a 4a5a3a")
    rough = fractal(seed.sub("rough"), 9.0, 3)
    planes = stone * ((0.6 + 0.3 * own + 0.6 * (rough - 0.5)) * (1.0 - 0.6 * cracks))
    over(planes, moss * (0.5 + 0.8 * rough), step(0.52, 0.62, fractal(seed.sub("cover"), 30.0, 4)))
    return planes


SCENES: Final[tuple[Callable[[Seed], Planes], ...]] = (
    meadow, sea, street, room, foliage, gravel, cloth, planks, lights, studio, rocks, sky,
)  # fmt: skip
"""Every scene there is."""


def _horizon(seed: Seed) -> float:
    return seed.between("horizon", 34.0, 92.0)


def _ground(seed: Seed) -> tuple[Field, Field, Field]:
    """Row below the horizon, and the coordinates (across, away) on the ground plane there."""
    x, y = grid()
    row = np.maximum(y - _horizon(seed), 0.0)
    away = 60.0 / (row + 7.0)
    across = (x - 64.0 - seed.between("side", -40.0, 40.0)) * away * (1.0 / 42.0)
    return row, across, 8.0 * away


def _below(seed: Seed) -> Field:
    x, y = grid()
    slope = seed.between("slope", -0.06, 0.06)
    return clamp(y - _horizon(seed) + slope * (x - 64.0))


def _grooves(across: Field, away: Field) -> Field:
    return np.maximum(step(0.12, 0.04, wave(across * 0.5)), step(0.12, 0.04, wave(away * 0.25)))


def _woods(seed: Seed, horizon: float) -> tuple[Planes, Field]:
    """A dark strip of trees standing on the horizon: its colour and its coverage."""
    _, y = grid()
    crowns = fractal(seed.sub("crowns"), 22.0, 4)
    height = seed.between("height", 4.0, 44.0)
    tone = pick_colour(seed.sub("tone"), "3f5a3a 5a6a4a 4a5a5a 6f6a44 7a8488")
    top = horizon - height * (0.3 + crowns)
    return tone * (0.4 + crowns), clamp(y - top)


def _wall(seed: Seed) -> Planes:
    clay = pick_colour(seed.sub("clay"), "a0604a c8b090 8a8a88 b89a80 d8d0c4 70564a")
    x, y = grid()
    worn = fractal(seed.sub("worn"), 36.0, 4)
    if seed.chance("plaster", 0.4):
        stain = step(0.5, 0.7, fractal(seed.sub("stain"), 28.0, 4, cell_y=60.0))
        return clay * (0.65 + 0.6 * worn) * (1.0 - 0.25 * stain)
    size = 1.0 / seed.between("course", 5.0, 11.0)
    joints, shade = bricks(seed.sub("bricks"), x * size, y * size)
    return mix(clay * (0.5 + 0.4 * shade + 0.4 * worn), colour("c8c0b4"), joints * 0.7)


def _wallpaper(seed: Seed) -> Planes:
    first = pick_colour(seed.sub("first"), "e8e0d0 c8d0c8 d8b8a0 a8b8c8 e0d0a0 8a9a90 b8a0a8")
    x, y = grid()
    size = 1.0 / seed.between("period", 8.0, 22.0)
    pattern = _pattern(seed, x * size, y * size)
    light = smooth_noise(seed.sub("light"), 90.0)
    return first * (1.0 - seed.between("ink", 0.0, 0.35) * pattern) * lerp(0.65, 1.1, light)


def _pattern(seed: Seed, u: Field, v: Field) -> Field:
    choice = seed.whole("pattern", 0, 5)
    if choice == 0:
        return bands(u, 3.0)
    if choice == 1:
        return checks(u * 0.5, v * 0.5)
    if choice == 2:
        return polka(u, v)
    if choice == 3:
        return zigzag(u, v)
    if choice == 4:
        return 0.5 * bands(u, 5.0) + 0.5 * bands(v, 5.0)
    return noise_at(seed.sub("plain"), u, v)
