"""The made half of the source domain's classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .field import Field, length, step, turned, wave
from .noise import Seed, noise_at
from .paint import BLACK, WHITE, colour, mix, pick_colour
from .shapes import arc, box, convex, cut, disc, ellipse, fused, rod
from .sprite import Part
from .texture import bands, bricks, brushed, checks, crackle, wood, zigzag

GLASS = colour("4a6478")


def bottle(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Shining glass, half full, with a label."""
    glass = pick_colour(seed.sub("glass"), "2f5a3a 5a3418 a8c4c0 c0c8d0 7a2f2a 3a4a7a")
    paper = pick_colour(seed.sub("paper"), "e8dfc8 d8c090 c04a3a e8e8e8 3a4a5a")
    ink = pick_colour(seed.sub("ink"), "2a2a3a 7a2a2a 2a5a3a c8a040")
    wide = seed.between("wide", 0.3, 0.42)
    body = box(u, v, 0.0, 0.45, wide, 0.75, 0.1)
    outline = fused(body, box(u, v, 0.0, -0.6, 0.13, 0.6, 0.04), 0.34)
    shine = step(0.09, 0.02, np.abs(u + 0.55 * wide)) * 0.55
    filled = step(-0.02, 0.02, v - seed.between("level", -0.4, 0.3))
    inside = mix(glass * 1.15, glass * 0.6, filled)
    label = np.maximum(body, np.abs(v - 0.5) - seed.between("label", 0.18, 0.34))
    print_rows = bands(v * 7.0, 6.0) * step(wide - 0.06, wide - 0.12, np.abs(u))
    yield Part(outline, mix(inside, WHITE, shine), 0.2, 0.5)
    yield Part(label, mix(paper, ink, print_rows * 0.8) * (1.0 - 0.5 * u * u), 0.0)
    yield Part(box(u, v, 0.0, -1.16, 0.15, 0.09, 0.03), ink, 0.05, 0.3)


def car(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Lacquered sheet metal with a sky reflection, windows, round black wheels."""
    lacquer = pick_colour(seed.sub("lacquer"), "b02a24 2a4a8a d0d0cc 1f2326 c8a02a 3a6a4a 8a8f96")
    hull = box(u, v, 0.0, 0.12, 1.2, 0.28, 0.16)
    roof = convex(u, v, [(-0.85, 0.0), (-0.5, -0.48), (0.3, -0.48), (0.72, 0.0)]) - 0.04
    panes = convex(u, v, [(-0.7, -0.06), (-0.44, -0.4), (0.25, -0.4), (0.55, -0.06)])
    panes = cut(panes, np.abs(u + 0.1) - 0.04)
    sky = step(0.0, -0.25, v) * 0.5 + 0.25 * step(0.03, 0.0, np.abs(v - 0.06))
    wheel_x = np.minimum(np.abs(u - 0.7), np.abs(u + 0.68))
    wheel = length(wheel_x, v - 0.4)
    door = np.maximum(np.abs(np.abs(u + 0.1) - 0.36) - 0.015, np.abs(v - 0.1) - 0.2)
    rim = mix(colour("a0a4a8"), BLACK, wave(wheel * 9.0))
    yield Part(fused(hull, roof, 0.12), mix(lacquer, WHITE, sky), 0.16, 0.4)
    yield Part(panes, mix(GLASS, WHITE, step(0.1, 0.0, np.abs(u - 0.5 * v - 0.1)) * 0.4), 0.05)
    yield Part(door, lacquer * 0.5, 0.0)
    yield Part(box(u, v, 1.1, 0.06, 0.09, 0.06, 0.04), colour("f0e0a8"), 0.04)
    yield Part(box(u, v, -1.12, 0.06, 0.07, 0.07, 0.03), colour("b03020"), 0.04)
    yield Part(wheel - 0.27, BLACK * 1.8, 0.08)
    yield Part(wheel - 0.15, rim, 0.05)


def house(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Brick walls under a tiled gable, with lit or dark windows."""
    clay = pick_colour(seed.sub("clay"), "a85a40 c8a888 8a4a3a b8b0a0 d0b080")
    tile = pick_colour(seed.sub("tile"), "7a3a2a 4a4a52 9a5a3a 5a5a48")
    pane = pick_colour(seed.sub("pane"), "f0d890 3a4a5a 2a2a30 90a8b8")
    joints, shade = bricks(seed.sub("bricks"), u * 6.0, v * 7.0)
    wall = mix(clay * (0.75 + 0.4 * shade), colour("d0c8b8"), joints * 0.8)
    courses = 0.7 + 0.4 * wave(v * 8.0) + 0.2 * noise_at(seed.sub("tiles"), u * 7.0, v * 8.0)
    body = box(u, v, 0.0, 0.5, 0.85, 0.6)
    ridge = seed.between("ridge", -1.1, -0.7)
    gable = convex(u, v, [(-1.1, -0.02), (seed.between("peak", -0.5, 0.5), ridge), (1.1, -0.02)])
    window_x = np.abs(np.abs(u) - 0.48)
    frame = box(window_x, v, 0.0, 0.4, 0.2, 0.22)
    cross = np.minimum(window_x, np.abs(v - 0.4)) - 0.025
    door = box(u, v, 0.0, 0.78, 0.16, 0.32)
    yield Part(box(u, v, 0.55, -0.65, 0.12, 0.4), wall * 0.8, 0.05)
    yield Part(body, wall, 0.06)
    yield Part(gable, tile * courses, 0.06)
    yield Part(frame, WHITE, 0.03)
    yield Part(np.maximum(frame + 0.04, -cross), pane, 0.0)
    yield Part(door, pick_colour(seed.sub("door"), "4a2f1c 2f4a3a 7a2a24 d8d0c0"), 0.04)


def ball(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A sphere with panels: sewn cells or a chequered skin."""
    first = pick_colour(seed.sub("first"), "f0ece4 e0b030 d85a30 70a8d0")
    second = pick_colour(seed.sub("second"), "1f1f22 b02a2a 2a5a9a 3a7a4a")
    reach = u * u + v * v
    bulge = 1.0 + 0.45 * reach
    x, y = turned(u * bulge, v * bulge, seed.unit("turn"))
    seams, own = crackle(seed.sub("panels"), x * 1.6 + 7.0, y * 1.6 + 7.0, 0.07)
    sewn = mix(mix(first, second, step(0.55, 0.6, own)), BLACK, seams * 0.8)
    checked = mix(first, second, checks(x * 1.1, y * 1.1, 8.0))
    yield Part(length(u, v) - 1.0, sewn if seed.chance("sewn", 0.5) else checked, 0.9, 0.35)


def boat(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A planked hull under two sails."""
    plank = pick_colour(seed.sub("plank"), "8a5a34 e0dcd0 3a4a6a a03a2a 5f4630")
    cloth = pick_colour(seed.sub("cloth"), "f2eee2 d8b878 c85038 e8e0c0 7aa0b8")
    grain = wood(seed.sub("wood"), u * 1.2, v * 1.5)
    planks = (
        plank * (0.7 + 0.45 * grain) * (1.0 - 0.5 * step(0.35, 0.5, np.abs(wave(v * 5.0) - 1.0)))
    )
    hull = np.maximum(
        convex(u, v, [(-1.05, 0.5), (1.2, 0.42), (0.75, 1.0), (-0.8, 1.0)]), v - 1.0 + 0.1 * u * u
    )
    belly = seed.between("belly", 0.05, 0.25)
    main = np.maximum(convex(u, v, [(0.08, -1.2), (0.08, 0.36), (-0.95, 0.36)]), -2.0)
    main = cut(main, disc(u, v, -1.3, -1.0 + belly, 0.9))
    fore = convex(u, v, [(0.2, -1.0), (0.2, 0.36), (1.05, 0.3)])
    seams = 0.88 + 0.16 * bands(v * 3.5, 2.0) + 0.1 * u
    yield Part(rod(u, v, (0.13, -1.25), (0.13, 0.5), 0.035), colour("6a4a30"), 0.03)
    yield Part(main, cloth * seams, 0.25)
    yield Part(fore, cloth * (seams - 0.12), 0.2)
    yield Part(hull, planks, 0.12)
    yield Part(np.maximum(hull, np.abs(v - 0.54) - 0.06), WHITE * 0.85, 0.0)


def chair(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Legs, seat and back of wood, sometimes upholstered in tartan."""
    timber = pick_colour(seed.sub("timber"), "8a5a30 c89a60 4a2f1f a8703c d8c8b0")
    cloth = pick_colour(seed.sub("cloth"), "8a2f3a 3f5a7a 5a6a3a c8b088")
    board = timber * (0.6 + 0.6 * wood(seed.sub("wood"), v, u))
    slats = np.maximum(
        box(u, v, 0.0, -0.6, 0.6, 0.6, 0.06),
        0.08 - np.abs(u - np.floor(u * 3.0 + 0.5) * (1.0 / 3.0)),
    )
    back = np.minimum(slats, box(u, v, 0.0, -1.05, 0.66, 0.14, 0.05))
    tartan = 0.5 * bands(u * 5.0, 6.0) + 0.5 * bands(v * 5.0, 6.0)
    legs = np.minimum(
        box(np.abs(u), v, 0.58, 0.6, 0.08, 0.65), box(np.abs(u), v, 0.4, 0.5, 0.07, 0.5)
    )
    rail = box(u, v, 0.0, 0.75, 0.55, 0.05)
    seat = convex(u, v, [(-0.6, -0.04), (0.6, -0.04), (0.76, 0.26), (-0.76, 0.26)]) - 0.03
    padded = seed.chance("padded", 0.5)
    cover = mix(cloth, cloth * 0.4, tartan) if padded else board
    yield Part(np.minimum(legs, rail), board * 0.8, 0.06)
    yield Part(back, board, 0.07)
    if padded:
        yield Part(box(u, v, 0.0, -0.55, 0.52, 0.4, 0.08), cover, 0.15)
    yield Part(seat, cover, 0.12)


def umbrella(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Gores in two colours over a crook handle."""
    first = pick_colour(seed.sub("first"), "c83a3a 2a5aa0 e0b83a 3a7a5a 7a4a8a")
    second = pick_colour(seed.sub("second"), "f0ece0 f0d890 202024 a8c8d8")
    dome = disc(u, v, 0.0, 0.15, 1.12)
    gore = u / np.maximum(1.2 - 0.55 * (v + 1.0) * (v + 1.0) * 0.3 + 0.35 * v, 0.3)
    scallop = v - 0.12 - 0.12 * wave(gore * 2.6 + 0.5)
    canopy = np.maximum(dome, scallop)
    folds = 0.8 + 0.3 * wave(gore * 2.6 + 0.5)
    handle = np.minimum(
        rod(u, v, (0.0, -1.1), (0.0, 1.0), 0.04),
        cut(arc(u, v, 0.16, 1.0, 0.16, 0.08), -(v - 1.0)),
    )
    yield Part(handle, colour("5a3a22"), 0.04)
    yield Part(canopy, mix(first, second, bands(gore * 1.3, 8.0)) * folds, 0.3)


def vase(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Thrown pottery with painted zigzags and bands."""
    clay = pick_colour(seed.sub("clay"), "c87a4a e0d0b0 5a7a9a 8a9a7a d8d8d0 7a4434")
    glaze = pick_colour(seed.sub("glaze"), "2a3a6a 5a2a1c f0e8d0 1f4a4a c8a03a")
    belly = ellipse(u, v, 0.0, 0.3, seed.between("belly", 0.62, 0.85), 0.75)
    neck = box(u, v, 0.0, -0.7, seed.between("neck", 0.2, 0.32), 0.5)
    body = np.maximum(fused(belly, neck, 0.35), np.abs(v) - 1.05)
    lip = box(u, v, 0.0, -1.05, 0.42, 0.08, 0.06)
    handles = arc(np.abs(u), v, 0.42, -0.45, 0.3, 0.12)
    painted = zigzag(u * 3.0, v * 2.5) * step(0.05, 0.0, np.abs(v - 0.25) - 0.3)
    rings = bands(v * 6.0, 6.0) * step(0.02, 0.0, np.abs(v + 0.55) - 0.16)
    throwing = 0.8 + 0.3 * brushed(seed.sub("throwing"), u, v * 0.8)
    skin = mix(clay * throwing, glaze, np.maximum(painted, rings))
    if seed.chance("handles", 0.5):
        yield Part(handles, clay * throwing, 0.08)
    yield Part(body, skin, 0.55, 0.3)
    yield Part(lip, glaze, 0.08, 0.2)
