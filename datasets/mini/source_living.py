"""The living half of the source domain's classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .field import Field, length, step, turned, wave
from .noise import Seed, noise_at
from .paint import BLACK, WHITE, colour, mix, pick_colour
from .shapes import arc, box, convex, cut, disc, ellipse, fused, lens, petals, rod
from .sprite import Part
from .texture import bands, blotches, fur, marble, shingles, spots


def bird(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Barred wings on a plump body."""
    back = pick_colour(seed.sub("back"), "3f6fb0 b5432f 7a6a55 3f4a52 4d8a5a d0a23a")
    belly = pick_colour(seed.sub("belly"), "e8e0d0 f0c070 d9a58a 9fb6c4 c8d0a8")
    down = noise_at(seed.sub("down"), u * 9.0, v * 9.0)
    across, along = turned(u, v, 0.06)
    barred = bands(along * seed.between("bars", 3.5, 5.5) + 0.4 * across * across, 3.0)
    body = ellipse(u, v, -0.08, 0.12, 0.74, 0.46)
    head = disc(u, v, 0.58, -0.38, 0.33)
    plumage = mix(belly, back, step(0.25, -0.2, v - 0.3 * u + 0.2 * down))
    wing = ellipse(across, along, -0.22, 0.02, 0.56, 0.29)
    legs = np.minimum(
        rod(u, v, (0.0, 0.4), (0.06, 0.98), 0.05), rod(u, v, (-0.2, 0.4), (-0.16, 0.98), 0.05)
    )
    tail = convex(u, v, [(-0.55, -0.1), (-1.22, 0.1), (-1.18, 0.42), (-0.5, 0.3)])
    yield Part(legs, colour("b07a30"), 0.08)
    yield Part(tail, mix(back, BLACK, 0.7 * barred), 0.1)
    yield Part(convex(u, v, [(0.84, -0.5), (1.2, -0.3), (0.82, -0.22)]), colour("d99026"), 0.2)
    yield Part(fused(body, head, 0.3), plumage * (0.85 + 0.3 * down), 0.5)
    yield Part(wing, mix(back * 0.8, belly, 0.8 * barred), 0.2)
    yield Part(disc(u, v, 0.68, -0.45, 0.075), BLACK, 0.05, 0.9)


def cat(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A sitting tabby: fur with cross stripes."""
    coat = pick_colour(seed.sub("coat"), "c98746 8d8880 5a4a3e d8c4a0 3a3634 a9683a")
    dark = coat * seed.between("dark", 0.3, 0.6)
    hair = fur(seed.sub("hair"), u, v)
    ringed = bands(v * 4.0 + 0.8 * u * u + 0.8 * noise_at(seed.sub("ring"), u * 3.0, v * 3.0), 2.0)
    coat = mix(coat, dark, ringed * 0.75) * (0.75 + 0.5 * hair)
    trunk = fused(ellipse(u, v, 0.0, 0.78, 0.62, 0.48), ellipse(u, v, 0.0, 0.3, 0.4, 0.6), 0.2)
    body = fused(trunk, ellipse(u, v, 0.0, -0.47, 0.48, 0.42), 0.12)
    ears = np.minimum(
        convex(u, v, [(-0.46, -0.5), (-0.42, -1.12), (-0.04, -0.8)]),
        convex(u, v, [(0.46, -0.5), (0.42, -1.12), (0.04, -0.8)]),
    )
    tail = cut(arc(u, v, 0.56, 0.68, 0.4, 0.18), u - 0.5)
    eye = np.minimum(ellipse(u, v, -0.18, -0.5, 0.1, 0.08), ellipse(u, v, 0.18, -0.5, 0.1, 0.08))
    slit = np.minimum(
        ellipse(u, v, -0.18, -0.5, 0.035, 0.075), ellipse(u, v, 0.18, -0.5, 0.035, 0.075)
    )
    yield Part(tail, coat, 0.1)
    yield Part(ears, coat * 0.85, 0.15)
    yield Part(body, coat, 0.4)
    yield Part(ellipse(u, v, 0.0, -0.24, 0.2, 0.13), coat * 0.4 + WHITE * 0.6, 0.1)
    yield Part(np.minimum(disc(u, v, -0.2, 1.12, 0.17), disc(u, v, 0.2, 1.12, 0.17)), coat, 0.2)
    yield Part(eye, pick_colour(seed.sub("eye"), "a8b840 d0a030 6fae8a"), 0.05)
    yield Part(slit, BLACK, 0.0)
    yield Part(convex(u, v, [(-0.07, -0.32), (0.07, -0.32), (0.0, -0.24)]), colour("a8625c"), 0.05)


def cow(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Four legs and a hide in two colours."""
    hide = pick_colour(seed.sub("hide"), "ece4d6 d9c7a8 f2eee6 b98a5e")
    patch = pick_colour(seed.sub("patch"), "2a2320 6b3a20 8a4a28 403a3a")
    share = seed.between("share", 0.3, 0.65)
    coat = mix(hide, patch, blotches(seed.sub("hide"), u * 2.2 + 9.0, v * 2.2, share))
    coat = coat * (0.85 + 0.3 * noise_at(seed.sub("hair"), u * 12.0, v * 12.0))
    trunk = box(u, v, -0.12, -0.08, 0.82, 0.42, 0.28)
    head = fused(
        ellipse(u, v, 0.92, -0.38, 0.3, 0.2), rod(u, v, (0.55, -0.2), (0.9, -0.4), 0.2), 0.1
    )
    stride = seed.between("stride", -0.12, 0.12)
    near = np.minimum(
        rod(u, v, (0.48, 0.2), (0.48 + stride, 0.98), 0.13, 0.08),
        rod(u, v, (-0.72, 0.2), (-0.72 - stride, 0.98), 0.14, 0.08),
    )
    far = np.minimum(
        rod(u, v, (0.3, 0.2), (0.3 - stride, 0.92), 0.12, 0.08),
        rod(u, v, (-0.52, 0.2), (-0.52 + stride, 0.92), 0.12, 0.08),
    )
    horn = rod(u, v, (0.8, -0.55), (0.86, -0.82), 0.06, 0.02)
    yield Part(far, coat * 0.6, 0.1)
    yield Part(rod(u, v, (-0.9, -0.3), (-1.05, 0.5), 0.04, 0.07), patch, 0.05)
    yield Part(near, coat, 0.12)
    yield Part(fused(trunk, head, 0.15), coat, 0.4)
    yield Part(horn, colour("cdbf9a"), 0.05)
    yield Part(ellipse(u, v, 1.12, -0.34, 0.12, 0.13), colour("c99a8c"), 0.1)
    yield Part(ellipse(u, v, 0.66, -0.5, 0.13, 0.07), coat * 0.7, 0.06)
    yield Part(disc(u, v, 0.92, -0.46, 0.05), BLACK, 0.0)


def fish(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A scaly side with fins; silver, gold or coral."""
    side = pick_colour(seed.sub("side"), "9fb0b8 d9a441 d8603c 5f8f9a a88fb0 6f7f52")
    belly = pick_colour(seed.sub("belly"), "e8e6dc f0dcae c8d6da")
    size = seed.between("scales", 5.0, 7.5)
    flank = mix(side, belly, step(-0.1, 0.4, v)) * (0.62 + 0.5 * shingles(v * size, -u * size))
    fin = mix(side * 0.8, belly, wave(v * 5.0 + 2.0 * u) * 0.6)
    body = ellipse(u, v, 0.12, 0.0, 0.88, seed.between("height", 0.36, 0.52))
    tail = cut(
        convex(u, v, [(-0.55, 0.0), (-1.25, -0.55), (-1.25, 0.55)]), disc(u, v, -1.4, 0.0, 0.38)
    )
    top = convex(u, v, [(-0.35, -0.3), (-0.25, -0.72), (0.45, -0.35), (0.4, -0.2)])
    head = np.maximum(body, 0.5 - u)
    gill = np.maximum(arc(u, v, 0.16, 0.0, 0.36, 0.06), np.maximum(0.35 - u, body))
    yield Part(np.minimum(tail, top), fin, 0.08)
    yield Part(body, flank, 0.45, 0.3)
    yield Part(head, side * 0.8, 0.4, 0.2)
    yield Part(gill, side * 0.45, 0.0)
    yield Part(lens(*turned(u - 0.1, v - 0.12, 0.3), 0.09, 0.24), fin * 0.9, 0.05)
    yield Part(disc(u, v, 0.74, -0.1, 0.1), WHITE, 0.05)
    yield Part(disc(u, v, 0.76, -0.1, 0.055), BLACK, 0.0)


def tree(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A leafy crown with holes of light on a barky trunk."""
    leaf = pick_colour(seed.sub("leaf"), "4f7a34 7a9a3e 2f5a34 b5862e a8482a 5f7a58")
    bark = pick_colour(seed.sub("bark"), "5c4632 7a6a58 3f342a")
    foliage = noise_at(seed.sub("foliage"), u * 9.0, v * 9.0, octaves=2)
    lumps = noise_at(seed.sub("lumps"), u * 2.4 + 5.0, v * 2.4, octaves=2)
    round_crown = ellipse(u, v, 0.0, -0.35, 0.95, 0.78)
    conifer = convex(u, v, [(0.0, -1.25), (0.8, 0.5), (-0.8, 0.5)])
    crown = conifer if seed.chance("conifer", 0.35) else round_crown
    crown = crown + 0.36 * (lumps - 0.42) + 0.16 * (foliage - 0.5)
    ridges = 0.6 + 0.7 * noise_at(seed.sub("bark"), u * 16.0, v * 3.0)
    trunk = rod(u, v, (0.0, 1.1), (0.04, -0.3), 0.16, 0.07)
    yield Part(trunk, bark * ridges, 0.1)
    yield Part(rod(u, v, (0.0, 0.3), (0.45, -0.3), 0.06, 0.03), bark * ridges, 0.05)
    yield Part(crown, leaf * (0.3 + 0.75 * foliage + 0.5 * lumps), 0.7)


def butterfly(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Four wings with dark veins, a dark hem and eye spots."""
    wing = pick_colour(seed.sub("wing"), "e08a2c 4a78c8 d9c04a c8483c 8fae9a e4dcc8")
    hem = pick_colour(seed.sub("hem"), "1c1614 3a2418 202a3a")
    spot = pick_colour(seed.sub("spot"), "f0ead8 e0b060 70b0d0")
    side = np.abs(u)
    upper = ellipse(*turned(side - 0.58, v + 0.4, -0.1), 0.0, 0.0, 0.66, 0.42)
    lower = ellipse(*turned(side - 0.42, v - 0.45, 0.12), 0.0, 0.0, 0.5, 0.36)
    wings = np.minimum(upper, lower)
    _, sine = turned(side, v, 0.0)
    veins = bands(4.5 * sine / (side + 0.35) + 0.25, 5.0) * step(0.05, 0.35, side)
    pattern = mix(wing, hem, np.maximum(step(-0.16, -0.1, wings), 0.45 * veins))
    eyes = np.minimum(disc(side, v, 0.68, -0.45, 0.15), disc(side, v, 0.45, 0.45, 0.12))
    rims = spots(seed.sub("rim"), side * 6.0, v * 6.0, 0.28) * step(-0.15, -0.11, wings)
    feeler = rod(side, v, (0.03, -0.5), (0.3, -1.1), 0.025)
    yield Part(feeler, hem, 0.0)
    yield Part(wings, mix(pattern, spot, rims), 0.08)
    yield Part(eyes, spot, 0.0)
    yield Part(eyes + 0.07, hem, 0.0)
    yield Part(ellipse(u, v, 0.0, 0.0, 0.09, 0.6), hem * 1.4, 0.1)


def flower(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Petals whose colour runs from the heart outwards, on a stem."""
    petal = pick_colour(seed.sub("petal"), "d8487a f0e8e0 e8c23a 8a5ac0 e07040 5a78d0")
    heart = pick_colour(seed.sub("heart"), "e0b030 6a3a20 f0e0a0 4a5a2a")
    x, y = u, v + 0.3
    x, y = turned(x, y, seed.unit("turn"))
    radius = length(x, y)
    corolla = petals(x, y, seed.whole("petals", 5, 9), 0.66, seed.between("depth", 0.15, 0.34))
    streaks = noise_at(seed.sub("streaks"), x * 10.0, y * 10.0)
    shade = mix(petal, heart, step(0.65, 0.15, radius) * 0.7) * (0.8 + 0.4 * streaks)
    seeds = spots(seed.sub("seeds"), x * 13.0, y * 13.0, 0.34)
    stem = rod(u, v, (0.02, 0.0), (-0.05, 1.25), 0.055)
    leaf = lens(*turned(u - 0.28, v - 0.8, 0.16), 0.15, 0.42)
    green = pick_colour(seed.sub("green"), "4a7a34 6f8f3e 3a5f3a")
    yield Part(stem, green, 0.06)
    yield Part(leaf, green * (0.8 + 0.4 * wave(u * 6.0 + v * 3.0)), 0.15)
    yield Part(corolla, shade, 0.3)
    yield Part(radius - 0.24, mix(heart, heart * 0.4, seeds), 0.2)


def mushroom(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A spotted or marbled cap over a fibrous stem."""
    cap = pick_colour(seed.sub("cap"), "b8352a a8703a d8b88a 6a4a3a c8823a")
    flesh = pick_colour(seed.sub("flesh"), "efe6d2 d9c8a8 c8b8a0")
    dome = np.maximum(ellipse(u, v, 0.0, 0.05, 1.0, 0.95), v - 0.08 - 0.08 * u * u)
    warts = spots(seed.sub("warts"), u * 3.2, v * 3.6, seed.between("wart", 0.18, 0.3))
    veined = 0.6 * marble(seed.sub("veins"), u, v)
    spotted = seed.chance("spotted", 0.6)
    skin = mix(cap, flesh, warts) if spotted else mix(cap, cap * 0.45, veined)
    stem = rod(u, v, (0.0, 0.0), (seed.between("bow", -0.12, 0.12), 1.05), 0.2, 0.27)
    fibres = 0.75 + 0.4 * noise_at(seed.sub("fibres"), u * 18.0, v * 2.5)
    gills = np.maximum(ellipse(u, v, 0.0, 0.08, 0.9, 0.24), -v)
    yield Part(gills, flesh * (0.45 + 0.3 * wave(u * 9.0)), 0.1)
    yield Part(stem, flesh * fibres, 0.2)
    yield Part(ellipse(u, v, 0.0, 0.42, 0.3, 0.09), flesh * 0.9, 0.06)
    yield Part(dome, skin, 0.5, 0.25)
