"""Surface patterns: fields in [0, 1] which say how much of a second colour shows at (u, v).

``u`` and ``v`` are coordinates on the thing itself, so a pattern turns and scales with it. One
unit is about half the thing's width.
"""

from __future__ import annotations

import numpy as np

from .field import Field, clamp, fract, length, step, wave
from .noise import Seed, cells_at, dots_at, noise_at


def bands(x: Field, sharpness: float = 4.0) -> Field:
    """Alternating bands, one pair per unit of ``x``; ``sharpness`` 1 is soft, 8 is hard."""
    return clamp((wave(x) - 0.5) * sharpness + 0.5)


def checks(u: Field, v: Field, sharpness: float = 6.0) -> Field:
    """A chequerboard with two squares per unit each way."""
    a, b = bands(u, sharpness), bands(v, sharpness)
    return a + b - 2.0 * a * b


def polka(u: Field, v: Field, radius: float = 0.28) -> Field:
    """A staggered grid of dots, one per unit square."""
    row = np.floor(v)
    shifted = u + 0.5 * (row - 2.0 * np.floor(row * 0.5))
    return step(radius + 0.08, radius - 0.08, length(fract(shifted) - 0.5, fract(v) - 0.5))


def spots(seed: Seed, u: Field, v: Field, radius: float = 0.3) -> Field:
    """Dots strewn at random, one per unit square."""
    return step(0.07, -0.07, dots_at(seed, u, v, radius))


def zigzag(u: Field, v: Field, sharpness: float = 4.0) -> Field:
    """Chevrons running along ``u``, one pair of bands per unit of ``v``."""
    return bands(v + np.abs(2.0 * fract(u) - 1.0) * 0.5, sharpness)


def bricks(seed: Seed, u: Field, v: Field, joint: float = 0.09) -> tuple[Field, Field]:
    """Courses of bricks two units wide and one high: the joints, and each brick's own shade."""
    row = np.floor(v)
    along = u * 0.5 + 0.5 * (row - 2.0 * np.floor(row * 0.5))
    near = np.minimum(np.abs(fract(v) - 0.5), 1.0)
    side = np.abs(fract(along) - 0.5) * 2.0 - 0.5
    gap = np.minimum(0.5 - near, 0.5 - side)
    shade = noise_at(seed, np.floor(along) * 7.0 + 0.5, row * 3.0 + 0.5)
    return step(joint + 0.06, joint - 0.06, gap), shade


def shingles(u: Field, v: Field) -> Field:
    """Overlapping round scales, one per unit square: dark along their lower rims."""
    row = np.floor(v)
    across = fract(u + 0.5 * (row - 2.0 * np.floor(row * 0.5))) - 0.5
    down = fract(v)
    rim = down - 0.95 * np.sqrt(np.maximum(1.0 - 3.6 * across * across, 0.0))
    return step(-0.35, 0.0, rim) - 0.55 * step(0.0, 0.3, rim)


def wood(seed: Seed, u: Field, v: Field) -> Field:
    """Grain along ``u``: drawn-out year rings and fine pores."""
    bend = noise_at(seed.sub("bend"), u * 0.8, v * 2.0)
    pores = noise_at(seed.sub("pores"), u * 3.0, v * 26.0)
    return 0.65 * wave(v * 3.0 + bend * 2.5) + 0.35 * pores


def fur(seed: Seed, u: Field, v: Field, lean: float = 0.3) -> Field:
    """Short strands along ``v``, leaning by ``lean``."""
    side = u + lean * v
    return 0.6 * noise_at(seed.sub("coarse"), side * 14.0, v * 4.0) + 0.4 * noise_at(
        seed.sub("fine"), side * 26.0, v * 7.0
    )


def brushed(seed: Seed, u: Field, v: Field) -> Field:
    """Brushed metal: streaks along ``u``."""
    return noise_at(seed, u * 1.5, v * 30.0)


def marble(seed: Seed, u: Field, v: Field) -> Field:
    """Veins bent by turbulence."""
    return wave(u * 1.5 + v + 3.0 * noise_at(seed, u * 2.0, v * 2.0, octaves=2))


def blotches(seed: Seed, u: Field, v: Field, share: float = 0.5) -> Field:
    """Patches with ragged edges, covering about ``share``."""
    level = 0.5 + (0.5 - share) * 0.55
    return step(level - 0.03, level + 0.03, noise_at(seed, u, v, octaves=2))


def crackle(seed: Seed, u: Field, v: Field, width: float = 0.12) -> tuple[Field, Field]:
    """Polygonal cells: the gaps between them, and each cell's own value in [0, 1)."""
    near, second, own = cells_at(seed, u, v)
    return step(width * 1.8, width * 0.5, second - near), own


def weave(u: Field, v: Field) -> Field:
    """Threads over and under each other, one pair per unit."""
    over_u = bands(0.5 * (np.floor(u * 2.0) + np.floor(v * 2.0)), 8.0)
    return over_u * wave(v * 2.0) + (1.0 - over_u) * wave(u * 2.0)
