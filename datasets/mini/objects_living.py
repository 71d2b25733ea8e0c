"""The grown half of the objects domain's classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .field import Field, clamp, fract, harmonic, length, step, turned, wave
from .noise import Seed, noise_at
from .paint import BLACK, WHITE, colour, mix, pick_colour
from .shapes import box, convex, cut, disc, ellipse, fused, lens, petals, rod
from .sprite import Part
from .texture import bands, crackle, spots


def apple(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Skin streaked from the stalk down, a blush on one side."""
    ground = pick_colour(seed.sub("ground"), "c8c050 a8b83a d8a84a b03028")
    blush = pick_colour(seed.sub("blush"), "a82424 c84a34 8a1f2a 9ab040")
    lobes = np.minimum(disc(u, v, -0.34, 0.05, 0.72), disc(u, v, 0.34, 0.05, 0.72))
    flesh = fused(lobes, ellipse(u, v, 0.0, 0.4, 0.62, 0.56), 0.3)
    flesh = cut(flesh, disc(u, v, 0.0, -1.02, 0.36))
    meridian = u / np.maximum(1.25 - 0.5 * v * v, 0.4)
    streaks = noise_at(seed.sub("streaks"), meridian * 9.0, v * 1.2, octaves=2)
    side = step(-0.5, 0.6, u * seed.between("side", -1.0, 1.0) + 0.9 * (streaks - 0.4))
    specks = spots(seed.sub("specks"), u * 6.0, v * 6.0, 0.09)
    skin = mix(mix(ground, blush, side), WHITE, 0.35 * specks)
    leaf = lens(*turned(u - 0.34, v + 0.92, 0.19), 0.14, 0.34)
    yield Part(rod(u, v, (0.0, -0.62), (0.08, -1.12), 0.05, 0.07), colour("5a4028"), 0.06)
    yield Part(flesh, skin, 0.65, 0.45)
    yield Part(
        leaf, pick_colour(seed.sub("leaf"), "4a7a30 6a8a3a") * (0.8 + 0.3 * bands(u * 5.0)), 0.1
    )


def banana(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """One or two bent fruits, flat-sided, freckled when ripe."""
    skin = pick_colour(seed.sub("skin"), "e0c03a d8b830 b0b848 c89a34")
    brown = pick_colour(seed.sub("brown"), "5a3a1c 6a5a24")
    ripe = seed.between("ripe", 0.0, 0.32)
    bruised = noise_at(seed.sub("bruise"), u * 7.0 + 9.0, v * 7.0, octaves=2)
    for finger in range(seed.whole("fingers", 1, 3)):
        x, y = turned(u, v + 0.1 - 0.16 * finger, 0.035 * finger)
        reach = length(x, y + 0.72)
        thick = 0.31 * np.sqrt(clamp(1.0 - 0.9 * x * x, 0.02))
        fruit = np.maximum(np.abs(reach - 0.92) - thick, -0.6 - y)
        stalk = rod(x, y, (0.98, -0.55), (1.12, -0.85), 0.09, 0.07)
        ridge = step(0.05, 0.0, np.abs(reach - 1.0)) * 0.25
        spots_here = step(1.0 - ripe, 1.08 - ripe, bruised + 0.3)
        dark = clamp(step(-0.4, -0.62, y) + ridge + spots_here)
        shade = mix(skin * (0.9 + 0.2 * bruised), brown, dark)
        yield Part(fused(fruit, stalk, 0.1), shade, 0.28, 0.15)


def cactus(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A ribbed column with arms and rows of pale spines."""
    green = pick_colour(seed.sub("green"), "4a7a4a 6a8a5a 3a6a5a 7a8a4a 8aa08a")
    spine = pick_colour(seed.sub("spine"), "e8e0c0 d0b080 f0f0e8")
    left, right = seed.between("left", -0.3, 0.35), seed.between("right", -0.5, 0.2)
    for start, bend, tip in (
        ((0.0, left + 0.3), (-0.68, left + 0.3), (-0.68, left - 0.4)),
        ((0.0, right + 0.3), (0.66, right + 0.3), (0.66, right - 0.45)),
    ):
        arm = np.minimum(rod(u, v, start, bend, 0.19), rod(u, v, bend, tip, 0.19, 0.17))
        ribs = wave((u - tip[0]) * 8.0 + 0.5)
        yield Part(arm, green * (0.55 + 0.5 * ribs), 0.16)
    column = np.maximum(rod(u, v, (0.0, 1.15), (0.0, -0.9), 0.34, 0.28), v - 1.2)
    x = u * (1.0 + 1.2 * u * u)
    ribs = wave(x * 6.0 + 0.5)
    needles = step(0.3, 0.12, length((fract(x * 6.0) - 0.5) * 0.8, fract(v * 7.0) - 0.5))
    yield Part(column, mix(green * (0.5 + 0.6 * ribs), spine, needles * 0.85), 0.3)
    bloom = petals(u - 0.02, v + 1.14, 7, 0.17, 0.3)
    if seed.chance("bloom", 0.5):
        yield Part(bloom, pick_colour(seed.sub("bloom"), "e05a8a f0d050 f0f0f0"), 0.1)


def duck(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A toy duck: smooth, glossy, of one colour but for bill and wing."""
    rubber = pick_colour(seed.sub("rubber"), "e8c030 f0e8d8 e89ab0 7ab0d0 9a7a50 5a5a5e")
    bill = pick_colour(seed.sub("bill"), "e07a2a c8442a e0b030 3a3a3a")
    body = fused(ellipse(u, v, -0.12, 0.42, 0.88, 0.52), disc(u, v, 0.42, -0.42, 0.46), 0.25)
    body = fused(body, convex(u, v, [(-0.6, 0.1), (-1.15, -0.2), (-0.9, 0.5)]), 0.3)
    wing = ellipse(*turned(u + 0.25, v - 0.32, 0.04), 0.0, 0.0, 0.45, 0.24)
    beak = np.minimum(ellipse(u, v, 0.92, -0.42, 0.26, 0.09), ellipse(u, v, 0.88, -0.32, 0.2, 0.08))
    shade = 1.0 - 0.12 * step(0.2, 0.9, v)
    yield Part(beak, bill, 0.08, 0.2)
    yield Part(body, rubber * shade, 0.55, 0.55)
    yield Part(wing, rubber * 0.93, 0.25, 0.2)
    yield Part(disc(u, v, 0.58, -0.55, 0.1), WHITE, 0.0)
    yield Part(disc(u, v, 0.6, -0.55, 0.06), BLACK, 0.0)


def ladybird(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Two domed wing cases with a few large spots, seen from above."""
    case = pick_colour(seed.sub("case"), "c02a20 d86a24 d8b030 2a2422 a83a4a")
    dark = float(case[0, 0, 0]) < 0.3
    dot = pick_colour(seed.sub("dot"), "c83a28 e0a030" if dark else "1a1614 f0e8d8 241a18")
    side = np.abs(u)
    body = ellipse(u, v, 0.0, 0.15, 0.78, 0.92)
    marks = np.minimum(disc(side, v, 0.36, -0.3, 0.17), disc(side, v, 0.42, 0.25, 0.19))
    marks = np.minimum(marks, disc(side, v, 0.24, 0.68, 0.15))
    if seed.chance("middle", 0.6):
        marks = np.minimum(marks, disc(u, v, 0.0, -0.55, 0.18))
    cases = mix(case, dot, np.maximum(step(0.03, -0.03, marks), step(0.04, 0.015, side)))
    legs = np.minimum(
        rod(side, v, (0.5, -0.2), (1.08, -0.5), 0.05), rod(side, v, (0.6, 0.2), (1.18, 0.25), 0.05)
    )
    legs = np.minimum(legs, rod(side, v, (0.5, 0.6), (1.05, 0.95), 0.05))
    feelers = rod(side, v, (0.1, -0.95), (0.35, -1.25), 0.035)
    yield Part(np.minimum(legs, feelers), BLACK * 1.5, 0.05)
    yield Part(ellipse(u, v, 0.0, -0.75, 0.46, 0.36), BLACK * 1.6, 0.2, 0.2)
    yield Part(ellipse(side, v, 0.26, -0.85, 0.1, 0.12), WHITE, 0.05)
    yield Part(body, cases, 0.7, 0.5)


def penguin(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A dark back, a pale front, no pattern but the line between them."""
    back = pick_colour(seed.sub("back"), "1f2226 2f3a4a 3a302a 4a5058")
    front = pick_colour(seed.sub("front"), "f0eee6 e8dcc0 d8dce0")
    bill = pick_colour(seed.sub("bill"), "e0902a d8602a 2a2a2a")
    turn = seed.between("turn", -0.22, 0.22)
    body = fused(ellipse(u, v, 0.0, 0.3, 0.58, 0.82), disc(u, v, 0.0, -0.68, 0.4), 0.3)
    breast = fused(
        ellipse(u, v, turn, 0.38, 0.4, 0.68), ellipse(u, v, turn, -0.6, 0.28, 0.22), 0.15
    )
    flippers = ellipse(*turned(np.abs(u) - 0.62, v - 0.2, -0.055), 0.0, 0.0, 0.13, 0.55)
    feet = ellipse(np.abs(u), v, 0.26, 1.12, 0.24, 0.1)
    down = 0.88 + 0.2 * noise_at(seed.sub("down"), u * 9.0, v * 5.0)
    yield Part(feet, bill, 0.08)
    yield Part(flippers, back * 0.9, 0.12)
    yield Part(body, back * down, 0.4, 0.15)
    yield Part(np.maximum(breast, body + 0.04), front * down, 0.2)
    yield Part(ellipse(np.abs(u - turn), v, 0.15, -0.76, 0.06, 0.07), BLACK, 0.0)
    yield Part(
        convex(u, v, [(turn - 0.12, -0.66), (turn + 0.12, -0.66), (turn * 1.4, -0.42)]),
        bill,
        0.06,
    )
    if seed.chance("collar", 0.5):
        collar = np.maximum(np.abs(v + 0.3) - 0.07, np.maximum(body, 0.2 - np.abs(u - turn)))
        yield Part(collar, colour("e0a838"), 0.0)


def pineapple(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A lozenge net over the fruit, a tuft of stiff leaves on top."""
    rind = pick_colour(seed.sub("rind"), "c8923a a87a30 8a8a3a d8a850 b0643a")
    leaf = pick_colour(seed.sub("leaf"), "4a7040 6a8a50 3a5a48 8a9a5a")
    for blade in range(7):
        turn = 0.045 * (blade - 3) + seed.between(f"blade{blade}", -0.015, 0.015)
        x, y = turned(u, v + 0.15, turn)
        tall = 0.62 - 0.03 * (blade - 3) * (blade - 3)
        yield Part(lens(x, y + 0.55, 0.11, tall), leaf * (0.75 + 0.06 * blade), 0.09)
    fruit = box(u, v, 0.0, 0.5, 0.56, 0.7, 0.5)
    x = u * (1.0 + 0.5 * u * u)
    first, second = fract(x * 3.0 + v * 2.6), fract(x * 3.0 - v * 2.6)
    eye = np.minimum(np.minimum(first, 1.0 - first), np.minimum(second, 1.0 - second))
    bump = step(0.0, 0.3, eye)
    skin = mix(rind * 0.45, rind * 1.15, bump)
    thorn = step(0.4, 0.47, eye)
    yield Part(fruit, mix(skin, colour("5a3a1c"), thorn), 0.5, 0.1)


def snail(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A coiled shell with growth lines, on a wet foot."""
    shell = pick_colour(seed.sub("shell"), "b08a5a d8b878 8a5a3a c8c0a8 9a7a8a")
    band = pick_colour(seed.sub("band"), "5a3a22 8a6a48 f0e8d0 3a2a24")
    flesh = pick_colour(seed.sub("flesh"), "8a7a60 b0a080 6a6058 a08868")
    skin = flesh * (0.75 + 0.5 * noise_at(seed.sub("skin"), u * 9.0, v * 9.0))
    foot = fused(
        np.maximum(ellipse(u, v, 0.0, 0.85, 1.15, 0.28), v - 0.92),
        rod(u, v, (0.75, 0.75), (0.98, 0.05), 0.2, 0.16),
        0.25,
    )
    horns = np.minimum(
        rod(u, v, (0.92, 0.0), (0.82, -0.42), 0.04), rod(u, v, (1.02, 0.0), (1.16, -0.36), 0.04)
    )
    yield Part(horns, skin, 0.04)
    yield Part(foot, skin, 0.2, 0.25)
    centre_x, centre_y, radius = -0.2, -0.05, 0.86
    for turn in range(5):
        x, y = u - centre_x, v - centre_y
        growth, _ = harmonic(x, y, 24)
        reach = length(x, y)
        hue = mix(shell, band, step(0.1, 0.04, np.abs(reach - 0.84 * radius) / radius) * 0.9)
        yield Part(reach - radius, hue * (0.86 + 0.12 * growth), 0.34 * radius, 0.15)
        centre_x, centre_y = (
            centre_x + (0.16, -0.02, -0.13, 0.02, 0.0)[turn] * radius,
            (centre_y + (0.06, -0.16, 0.0, 0.12, 0.0)[turn] * radius),
        )
        radius *= 0.66


def starfish(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Five arms with a knobbly skin and a ridge of pale grains along each."""
    skin = pick_colour(seed.sub("skin"), "c8643a a83a4a d89a50 6a5a8a 4a6a8a b8a088")
    knob = pick_colour(seed.sub("knob"), "f0d8b0 e8b080 d8d0e0 5a2a24")
    cosine, _ = harmonic(u, v, 5)
    reach = length(u, v)
    lobe = 0.5 + 0.5 * cosine
    outline = (reach - (0.36 + 0.86 * lobe * lobe * lobe)) * seed.between("slender", 0.45, 0.5)
    ridge = step(0.9, 0.99, lobe) * step(1.0, 0.75, reach)
    grains = spots(seed.sub("grains"), u * 7.5, v * 7.5, 0.27)
    rough = noise_at(seed.sub("rough"), u * 14.0, v * 14.0)
    tone = mix(skin * (0.75 + 0.4 * rough), knob, clamp(0.75 * grains + 0.5 * ridge))
    yield Part(outline, tone, 0.22)


def turtle(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A shell of plates with pale seams, four flippers and a head, seen from above."""
    plate = pick_colour(seed.sub("plate"), "5a6a3a 7a5a34 4a5a52 8a7a4a 3a4a34")
    seam = pick_colour(seed.sub("seam"), "c8b87a a0a878 2a2a20 d8c8a0")
    limb = pick_colour(seed.sub("limb"), "7a8a5a 8a8a70 5a6a5a a09a6a")
    side = np.abs(u)
    paddle = seed.between("paddle", -0.06, 0.06)
    front = ellipse(*turned(side - 0.78, v + 0.55, 0.13 + paddle), 0.0, 0.0, 0.46, 0.17)
    hind = ellipse(*turned(side - 0.62, v - 0.78, 0.1), 0.0, 0.0, 0.32, 0.15)
    scales, own = crackle(seed.sub("limb"), u * 8.0, v * 8.0, 0.2)
    skin = mix(limb * (0.75 + 0.4 * own), limb * 1.5, scales * 0.6)
    plates, tint = crackle(seed.sub("plates"), u * 2.6 + 5.0, v * 2.3 + 5.0, 0.09)
    rays = 0.85 + 0.25 * noise_at(seed.sub("rays"), u * 12.0, v * 12.0)
    shell = ellipse(u, v, 0.0, 0.1, 0.76, 0.9)
    tone = mix(plate * (0.7 + 0.55 * tint) * rays, seam, plates * 0.85)
    yield Part(np.minimum(front, hind), skin, 0.12)
    yield Part(convex(u, v, [(-0.12, 0.9), (0.12, 0.9), (0.0, 1.25)]), skin, 0.06)
    yield Part(ellipse(u, v, 0.0, -0.95, 0.25, 0.32), skin, 0.15)
    yield Part(disc(side, v, 0.14, -1.05, 0.05), BLACK, 0.0)
    yield Part(shell, tone, 0.55, 0.2)
    yield Part(np.abs(shell + 0.04) - 0.035, seam * 0.8, 0.0)
