"""mini-landcover: satellite tiles with 2 to 4 kinds of land cover (model: DeepGlobe).

6 classes, 96 tiles; every pixel has a class. Roads, single houses and trees belong to the region
they lie in, as in the model's annotation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import ground
from .field import Field, blurred, clamp, grid, length, lowest, step, turned
from .noise import Seed, fractal, noise_at, smooth_noise
from .paint import Planes, colour, develop, over, pick_colour
from .picture import SIDE, Drawn, Picture

PAINTERS: Final[tuple[Callable[[Seed, Planes], Planes], ...]] = (
    ground.agriculture,
    ground.urban,
    ground.rangeland,
    ground.forest,
    ground.water,
    ground.barren,
)
CLASSES: tuple[str, ...] = tuple(painter.__name__ for painter in PAINTERS)
AGRICULTURE, URBAN, RANGELAND, FOREST, WATER, BARREN = range(6)

COUNT: Final = 96
WEIGHTS: Final = (12, 2, 7, 4, 2, 3)
"""How often a class is met, relative to the others."""


@cache
def contents(name: str) -> tuple[int, ...]:
    """The classes of a tile; the first one is the ground in which the others lie.

    Towns and waters come last: they lie in a landscape, not fields in a town.
    """
    seed = Seed(name)
    count = seed.pick("count", (2, 2, 3, 3, 3, 4))
    left = list(range(len(CLASSES)))
    chosen: list[int] = []
    while len(chosen) < count:
        pool = [index for index in left for _ in range(WEIGHTS[index])]
        chosen.append(seed.pick(f"class{len(chosen)}", pool))
        left.remove(chosen[-1])
    return tuple(sorted(chosen, key=lambda index: index in (URBAN, WATER)))


def paint(name: str) -> Picture:
    """Draw one tile."""
    seed = Seed(name)
    base, *others = contents(name)
    trees = ground.canopy(seed.sub("trees"))
    planes = PAINTERS[base](seed.sub(CLASSES[base]), trees)
    labels = np.full((SIDE, SIDE), base + 1, dtype=np.uint8)
    high = (0.5, 0.34, 0.24)[len(others) - 1]
    for index in others:
        own = seed.sub(CLASSES[index])
        share = own.central("share", 0.08, high)
        region = lowest(_region(own.sub("region"), index), share, labels == base + 1)
        over(planes, PAINTERS[index](own, trees), _blend(own.sub("border"), index, region))
        labels[region] = index + 1
    _roads(seed.sub("roads"), planes, labels)
    camera = seed.sub("camera")
    haze = colour("a8a898") * camera.between("haze", 0.0, 0.2)
    planes = planes * camera.between("sun", 0.65, 1.0) + haze
    image = develop(
        camera,
        planes,
        exposure=camera.central("exposure", -0.4, 0.4),
        contrast=camera.central("contrast", -0.2, 0.5),
        cast=camera.between("cast", 0.0, 0.1),
        blur=1 if camera.chance("blur", 0.2) else 0,
        noise=camera.between("noise", 0.004, 0.016),
    )
    return Picture(image, labels)


NAMES: Final = tuple(f"landcover/{number:03d}" for number in range(COUNT))
DOMAIN: Final = Drawn(
    "mini-landcover",
    CLASSES,
    tuple(tuple(n for n in NAMES if index in contents(n)) for index in range(len(CLASSES))),
    paint,
)


def _region(seed: Seed, index: int) -> Field:
    """A field whose lowest part is where a class lies: its value orders the pixels."""
    x, y = grid()
    u, v = turned(x - 64.0, y - 64.0, seed.unit("turn"))
    u = u - seed.between("off", -44.0, 44.0)
    bend = fractal(seed.sub("bend"), 56.0, 4) - 0.5
    if index == WATER and seed.chance("river", 0.6):
        slow = smooth_noise(seed.sub("slow"), 80.0) - 0.5
        return np.abs(u + 70.0 * slow + 12.0 * bend)
    if index in (URBAN, AGRICULTURE):
        cell = 1.0 / seed.between("cell", 10.0, 26.0)
        s, t = np.floor(u * cell), np.floor(v * cell)
        ragged = noise_at(seed.sub("ragged"), s * 0.7 + 0.5, t * 0.7 + 0.5)
        along = seed.between("along", 0.2, 0.9)
        return length(s * (1.0 / cell), t * (along / cell)) + 40.0 * ragged + 0.02 * (u + v)
    if seed.chance("belt", 0.4):
        return np.abs(u + 60.0 * bend) + 14.0 * bend
    if seed.chance("coast", 0.4):
        return u + 90.0 * bend
    v = v - seed.between("along", -40.0, 40.0)
    return length(u, v * 0.7) + 110.0 * bend


def _blend(seed: Seed, index: int, region: NDArray[np.bool_]) -> Field:
    """How much of a class shows at each pixel: its region with a border of its own kind."""
    cover = region.astype(np.float64)
    if index in (URBAN, AGRICULTURE):
        return cover
    if index == WATER:
        return step(0.3, 0.7, blurred(cover, 1))
    ragged = fractal(seed, 5.0, 2) - 0.5
    return step(0.36, 0.64, blurred(cover, 2) + 0.7 * ragged)


def _roads(seed: Seed, planes: Planes, labels: NDArray[np.uint8]) -> None:
    """Tracks and roads over everything but water, in place."""
    x, y = grid()
    dry = (labels != WATER + 1).astype(np.float64)
    for road in range(seed.whole("count", 0, 3)):
        own = seed.sub(road)
        u, _ = turned(x - 64.0, y - 64.0, own.unit("turn"))
        wander = own.between("wander", 0.0, 40.0) * (smooth_noise(own.sub("wander"), 70.0) - 0.5)
        away = np.abs(u + wander - own.between("off", -50.0, 50.0))
        surface = pick_colour(own.sub("surface"), "b8a888 9a948a 84705a c8bca4 6e6c68")
        over(planes, surface, clamp(own.between("wide", 0.9, 2.0) - away) * dry * 0.85)
