"""Pigment: what the three kinds of lesion look like inside their outlines.

Each painter takes ``inside``, which is 0 on the outline and 1 in the middle, and gives the lesion's
colour [3, 128, 128] with the share of skin it hides.
"""

from __future__ import annotations

import numpy as np

from .field import Field, clamp, grid, step, turned, wave
from .noise import Seed, cells_at, dots_at, fractal
from .paint import Planes, colour, mix, over, pick_colour


def nevus(seed: Seed, inside: Field) -> tuple[Planes, Field]:
    """An even brown with a pigment network or globules, paler towards the rim."""
    brown = pick_colour(seed.sub("brown"), "8a5a3a 6a3f28 96603e 4a2c20 a0684a 7a4838")
    rim = pick_colour(seed.sub("rim"), "a87450 966040 b08068 8a563c")
    depth = step(0.0, seed.between("spread", 0.25, 0.9), inside)
    clouds = fractal(seed.sub("clouds"), 26.0, 4)
    planes = mix(rim, brown, clamp(depth * (0.6 + 0.8 * clouds)))
    network = _network(seed.sub("network"), seed.between("mesh", 3.2, 5.5), clouds)
    globules = _globules(seed.sub("globules"), seed.between("grain", 3.5, 6.0))
    structure = network if seed.chance("meshed", 0.6) else globules
    planes *= 1.0 - seed.between("structure", 0.1, 0.5) * structure * (1.0 - 0.5 * depth)
    return planes, seed.between("dense", 0.6, 1.0) * (0.72 + 0.28 * depth)


def seborrheic_keratosis(seed: Seed, inside: Field) -> tuple[Planes, Field]:
    """A stuck-on, waxy plaque with furrows, pale cysts and dark plugs."""
    wax = pick_colour(seed.sub("wax"), "98744c 806044 746056 a08260 5a4436 8a6a5a 6a5444")
    dark = wax * seed.between("dark", 0.35, 0.65)
    x, y = grid()
    bend = fractal(seed.sub("bend"), 20.0, 3)
    u, _ = turned(x * 0.09, y * 0.09, seed.unit("turn"))
    furrows = step(0.35, 0.0, np.abs(wave(u + 4.0 * bend) - 0.3)) * seed.between(
        "furrows", 0.1, 0.9
    )
    planes = mix(wax * (0.7 + 0.6 * fractal(seed.sub("crust"), 9.0, 3)), dark, 0.7 * furrows)
    cysts = dots_at(seed.sub("cysts"), x * 0.085, y * 0.085, 0.12)
    over(planes, colour("eadfc0"), step(0.06, -0.06, cysts) * seed.between("cysts", 0.0, 0.8))
    plugs = dots_at(seed.sub("plugs"), x * 0.11, y * 0.11, 0.16)
    over(planes, colour("3a2618"), step(0.06, -0.06, plugs) * seed.between("plugs", 0.0, 0.85))
    planes *= 1.0 - 0.25 * step(0.12, 0.0, inside)
    return planes, np.full(inside.shape, seed.between("dense", 0.6, 0.97))


def melanoma(seed: Seed, inside: Field) -> tuple[Planes, Field]:
    """Several colours in no order: browns, black, blue-grey veil, red, pale regression."""
    brown = pick_colour(seed.sub("brown"), "7a4a30 9a6240 5a3424 a87058")
    planes = brown * (0.75 + 0.5 * fractal(seed.sub("ground"), 16.0, 4))
    x, y = grid()
    side, _ = turned(x - 64.0, y - 64.0, seed.unit("side"))
    tilt = side * (1.0 / 128.0)
    for stain, code, likely in (
        ("black", "1f1412 2c1a14", 0.75),
        ("veil", "6a7484 565a70", 0.5),
        ("red", "b8584e a84a50", 0.5),
        ("pale", "d8b8a8 e0ccc0", 0.4),
    ):
        own = seed.sub(stain)
        if own.chance("there", likely):
            patches = (
                fractal(own, own.between("size", 18.0, 40.0), 4)
                + own.between("t", -0.5, 0.5) * tilt
            )
            level = own.between("level", 0.45, 0.6)
            over(planes, pick_colour(own, code), step(level, level + 0.2, patches) * 0.85)
    streaks = _network(seed.sub("network"), seed.between("mesh", 4.0, 7.0), tilt)
    planes *= 1.0 - seed.between("structure", 0.1, 0.45) * streaks * step(0.6, 0.1, inside)
    return planes, np.full(inside.shape, seed.between("dense", 0.6, 0.97))


def _network(seed: Seed, mesh: float, bend: Field) -> Field:
    """The pigmented lines of a honeycomb."""
    x, y = grid()
    near, second, _ = cells_at(seed, x * (1.0 / mesh) + bend, y * (1.0 / mesh) + bend, 0.85)
    patchy = fractal(seed.sub("patchy"), 24.0, 2)
    return step(0.42, 0.05, second - near) * step(0.25, 0.7, patchy)


def _globules(seed: Seed, spacing: float) -> Field:
    x, y = grid()
    size = 1.0 / spacing
    bend = 2.0 * fractal(seed.sub("bend"), 18.0, 2)
    patchy = fractal(seed.sub("patchy"), 14.0, 2)
    drops = dots_at(seed, x * size + bend, y * size + bend, 0.24)
    return step(0.12, -0.1, drops) * step(0.35, 0.6, patchy)
