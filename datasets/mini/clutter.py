"""Things of no class: what lies about in a scene and must not be mistaken for the object."""

from __future__ import annotations

from collections.abc import Iterator

from .field import Field, length, turned, wave
from .noise import Seed, noise_at
from .paint import Planes, mix, pick_colour
from .shapes import box, convex, cut, ellipse, rod
from .sprite import Kind, Part
from .texture import bands, blotches, brushed, checks, polka, wood

COLOURS = "8a8680 b8a890 5a6a72 a0583c d8d0c0 3f4a3a 7a5a7a c89a4a 4a7a8a 2f2f34 e8c8b0 98a868"


def junk(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A stone, a crate, a post, a shard, a cushion or a hoop with any surface."""
    outline = _outline(seed, u, v)
    yield Part(outline, _surface(seed.sub("surface"), u, v), seed.between("relief", 0.05, 0.6))


def _outline(seed: Seed, u: Field, v: Field) -> Field:
    kind = seed.whole("kind", 0, 5)
    if kind == 0:
        bumps = noise_at(seed.sub("bumps"), u * 2.0 + 9.0, v * 2.0)
        return ellipse(u, v, 0.0, 0.0, 1.0, seed.between("flat", 0.45, 0.9)) + 0.4 * (bumps - 0.5)
    if kind == 1:
        return box(
            u, v, 0.0, 0.0, 0.95, seed.between("flat", 0.4, 0.9), seed.between("r", 0.0, 0.2)
        )
    if kind == 2:
        return rod(u, v, (-1.1, 0.0), (1.1, 0.0), seed.between("thick", 0.08, 0.25))
    if kind == 3:
        a, b = seed.between("a", -0.8, 0.8), seed.between("b", -0.8, 0.8)
        return convex(u, v, [(-1.0, a), (b, -1.0), (1.0, -a * 0.5), (-b, 1.0)])
    if kind == 4:
        return box(u, v, 0.0, 0.0, 0.9, 0.7, 0.4) + 0.08 * wave(u * 2.0)
    reach = length(u, v)
    return cut(reach - 1.0, reach - seed.between("hole", 0.5, 0.8))


def _surface(seed: Seed, u: Field, v: Field) -> Planes:
    first, second = (
        pick_colour(seed.sub("a"), COLOURS, 0.2),
        pick_colour(seed.sub("b"), COLOURS, 0.2),
    )
    u, v = turned(u, v, seed.unit("turn"))
    size = seed.between("size", 2.0, 5.0)
    kind = seed.whole("kind", 0, 7)
    if kind == 0:
        return first * (0.7 + 0.5 * noise_at(seed, u * 8.0, v * 8.0, octaves=2))
    if kind == 1:
        return mix(first, second, bands(u * size))
    if kind == 2:
        return mix(first, second, checks(u * size * 0.6, v * size * 0.6))
    if kind == 3:
        return mix(first, second, polka(u * size, v * size))
    if kind == 4:
        return first * (0.55 + 0.6 * wood(seed, u, v))
    if kind == 5:
        return mix(first, second, blotches(seed, u * 3.0 + 9.0, v * 3.0))
    if kind == 6:
        return first * (0.7 + 0.5 * brushed(seed, u, v))
    return mix(first, second, 0.5 + 0.5 * u)


JUNK = Kind(junk, (1.35, 1.1), 0.5, 0.5)
