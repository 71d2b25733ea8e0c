"""The made half of the objects domain's classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .field import MIDDLE, Field, clamp, fract, harmonic, length, step, turned, wave
from .noise import Seed, noise_at
from .paint import BLACK, WHITE, colour, mix, pick_colour
from .shapes import arc, box, convex, cut, disc, ellipse, fused, rod
from .sprite import Part
from .texture import bands, brushed, spots, wood


def die(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A cube with pips, three faces in three lights."""
    face = pick_colour(seed.sub("face"), "f0ece0 c83a34 2f5a9a 2a2a2e 4a8a5a e0c890")
    light_face = float(face[1, 0, 0]) > 0.6
    pip = BLACK * 1.5 if light_face else WHITE
    wide, rise, tall = 0.95, seed.between("rise", 0.36, 0.56), 1.12
    front = rise - 0.5 * tall
    frames = (
        ((0.0, front - 2.0 * rise), (wide, rise), (-wide, rise), 1.0, "top"),
        ((-wide, front - rise), (wide, rise), (0.0, tall), 0.8, "left"),
        ((0.0, front), (wide, -rise), (0.0, tall), 0.58, "right"),
    )
    for (at_x, at_y), (ax, ay), (bx, by), shade, name in frames:
        scale = 1.0 / (ax * by - ay * bx)
        x, y = u - at_x, v - at_y
        s, t = (x * by - y * bx) * scale, (y * ax - x * ay) * scale
        outline = np.maximum(np.abs(s - 0.5), np.abs(t - 0.5)) - 0.5
        yield Part(outline * 0.8, face * shade, 0.05, 0.15)
        for spot_s, spot_t in _pips(seed.whole(name, 1, 6)):
            dot = length(s - spot_s, t - spot_t) - 0.11
            yield Part(np.maximum(dot, outline + 0.03) * 0.8, pip * (0.3 + 0.7 * shade), 0.0)


def _pips(count: int) -> list[tuple[float, float]]:
    pairs = [((0.25, 0.25), (0.75, 0.75)), ((0.75, 0.25), (0.25, 0.75)), ((0.25, 0.5), (0.75, 0.5))]
    spots_here = [spot for pair in pairs[: count // 2] for spot in pair]
    return [*spots_here, (0.5, 0.5)] if count % 2 else spots_here


def doughnut(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A ring of dough, running icing, sprinkles."""
    dough = pick_colour(seed.sub("dough"), "c8904a b07838 d8a868")
    icing = pick_colour(seed.sub("icing"), "e88ab0 4a2a1c f0e8e0 7ac0c8 c8a0e0 e0b850")
    reach = length(u, v)
    ring = np.abs(reach - 0.7) - 0.46
    drip, _ = harmonic(u, v, seed.whole("drips", 5, 9))
    other, _ = harmonic(u, v, 3)
    glaze = np.abs(reach - 0.7) - (0.34 + 0.05 * drip + 0.04 * other)
    crumb = 0.85 + 0.3 * noise_at(seed.sub("crumb"), u * 12.0, v * 12.0)
    top = icing
    for layer, code in enumerate(("e83a4a f0e050", "4a90e0 f0f0f0", "60c060 f0a030")):
        x, y = turned(u, v, 0.13 + 0.29 * layer)
        grains = spots(seed.sub(f"sprinkles{layer}"), x * 2.6 + 7.0, y * 7.0 + 7.0, 0.2)
        top = mix(top, pick_colour(seed.sub(f"sugar{layer}"), code), grains)
    yield Part(ring, dough * crumb, 0.4, 0.1)
    yield Part(glaze, top, 0.3, 0.35)


def gear(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A toothed wheel of turned metal, spoked or drilled."""
    metal = pick_colour(seed.sub("metal"), "9aa0a8 b08a4a 5a5e66 8a5a3a c0c4c8")
    teeth = seed.whole("teeth", 8, 14)
    cosine, _ = harmonic(u, v, teeth)
    reach = length(u, v)
    rim = (reach - (1.0 + 0.13 * clamp(cosine * 2.5, -1.0, 1.0))) * 0.8
    holes = reach - seed.between("bore", 0.14, 0.26)
    spokes = seed.whole("spokes", 3, 6)
    between, _ = harmonic(*turned(u, v, seed.unit("turn")), spokes)
    window = np.maximum(np.abs(reach - 0.54) - 0.2, (0.15 - between) * 0.35)
    body = cut(cut(rim, holes), window) if seed.chance("open", 0.7) else cut(rim, holes)
    turning = noise_at(seed.sub("turning"), reach * 26.0, MIDDLE)
    sheen, _ = harmonic(u, v, 2)
    rust = step(0.55, 0.75, noise_at(seed.sub("rust"), u * 3.0 + 9.0, v * 3.0, octaves=3))
    tone = metal * (0.65 + 0.35 * turning + 0.25 * sheen)
    yield Part(body, mix(tone, colour("7a4424"), rust * seed.unit("rusty")), 0.09, 0.2)


def guitar(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A waisted sounding board with rose and strings, a fretted neck."""
    timber = pick_colour(seed.sub("timber"), "c8883a e0b870 8a3a1f 3a2a22 a8582c 2a4a6a")
    dark = pick_colour(seed.sub("dark"), "3a2618 2a1a14 5a4030")
    board = timber * (0.75 + 0.4 * wood(seed.sub("wood"), v, u * 0.8))
    outline = fused(disc(u, v, 0.0, 0.72, 0.52), disc(u, v, 0.0, 0.06, 0.38), 0.22)
    neck = convex(u, v, [(-0.07, -0.98), (0.07, -0.98), (0.09, 0.1), (-0.09, 0.1)])
    head = convex(u, v, [(-0.14, -1.27), (0.14, -1.27), (0.1, -0.95), (-0.1, -0.95)])
    pegs = disc(np.abs(u), np.abs(v + 1.12), 0.19, 0.07, 0.045)
    strings = step(0.012, 0.004, np.abs(fract(u * 18.0 + 0.5) - 0.5) * (1.0 / 18.0))
    strings = strings * step(0.07, 0.06, np.abs(u))
    frets = bands(v * 9.0, 8.0) * 0.4
    yield Part(pegs, WHITE, 0.04)
    yield Part(outline, board, 0.14, 0.3)
    yield Part(np.abs(outline + 0.03) - 0.02, dark, 0.0)
    yield Part(disc(u, v, 0.0, 0.22, 0.17), BLACK, 0.0)
    yield Part(arc(u, v, 0.0, 0.22, 0.2, 0.04), dark, 0.0)
    yield Part(box(u, v, 0.0, 0.82, 0.24, 0.05), dark, 0.03)
    yield Part(head, dark * 1.2, 0.04)
    yield Part(neck, mix(mix(dark, WHITE, frets), WHITE, strings * 0.5), 0.03)


def hot_air_balloon(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """An envelope of gores with a chevron belt, a wicker basket below."""
    first = pick_colour(seed.sub("first"), "d8402f 2f6ab0 e8b830 5a9a4a 8a4aa0 e8e4d8")
    second = pick_colour(seed.sub("second"), "f0d860 f0f0ea 2a3a7a e0702f 3a2a4a")
    third = pick_colour(seed.sub("third"), "3a8ab0 c02a3a f0c040 2a2a30")
    ball = disc(u, v, 0.0, -0.35, 0.85)
    cone = convex(u, v, [(-0.72, 0.1), (0.72, 0.1), (0.2, 0.78), (-0.2, 0.78)])
    envelope = fused(ball, cone, 0.12)
    half_width = np.sqrt(np.maximum(0.78 - (v + 0.35) * (v + 0.35) * 0.62, 0.04))
    meridian = clamp(u / half_width, -1.0, 1.0)
    meridian = meridian * (1.0 + 0.35 * meridian * meridian)
    gores = step(0.1, 0.03, wave(meridian * 3.0))
    belt = v + 0.35 + 0.14 * np.abs(2.0 * fract(meridian * 3.0) - 1.0)
    tone = mix(first, second, step(0.34, 0.31, np.abs(belt)))
    tone = mix(tone, third, step(0.15, 0.12, np.abs(belt)))
    basket = box(u, v, 0.0, 1.12, 0.17, 0.13, 0.03)
    ropes = rod(np.abs(u), v, (0.18, 0.76), (0.15, 1.05), 0.02)
    wicker = colour("8a6238") * (0.6 + 0.5 * wave(v * 14.0) * wave(u * 12.0))
    yield Part(ropes, colour("4a3a2a"), 0.0)
    yield Part(basket, wicker, 0.06)
    yield Part(envelope, tone * (1.0 - 0.25 * gores), 0.6, 0.15)


def hourglass(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Two glass bulbs in a turned frame, sand above and below."""
    frame = pick_colour(seed.sub("frame"), "7a4a26 c8a050 3a2a22 b0b4b8 8a2f2a")
    sand = pick_colour(seed.sub("sand"), "d8b070 e8dcc0 c86a4a 6a8ab0 4a4a4a")
    timber = frame * (0.7 + 0.5 * wood(seed.sub("wood"), u, v))
    upper, lower = ellipse(u, v, 0.0, -0.5, 0.5, 0.52), ellipse(u, v, 0.0, 0.5, 0.5, 0.52)
    glass = fused(upper, lower, 0.16)
    level = seed.between("level", -0.7, -0.3)
    heap = seed.between("heap", 0.35, 0.7)
    grains = 0.85 + 0.3 * noise_at(seed.sub("grains"), u * 20.0, v * 20.0)
    full = np.minimum(np.maximum(level - v, v), heap + 0.5 * np.abs(u) - v)
    running = np.maximum(np.abs(u) - 0.025, np.abs(v - 0.3) - 0.35)
    filling = np.maximum(np.minimum(full, running), glass + 0.06)
    plates = box(u, np.abs(v), 0.0, 1.08, 0.72, 0.11, 0.05)
    posts = box(np.abs(u), v, 0.6, 0.0, 0.06, 1.0) - 0.03 * wave(v * 3.0)
    shine = step(0.06, 0.02, np.abs(u + 0.3 - 0.1 * v * v)) * 0.5
    clear = pick_colour(seed.sub("clear"), "b8c8cc a0b4b0 c8c8d0")
    yield Part(posts, timber, 0.08)
    yield Part(glass, mix(clear, WHITE, shine), 0.2, 0.3)
    yield Part(filling, sand * grains, 0.05)
    yield Part(plates, timber, 0.1, 0.1)


def ice_cream(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Scoops on a waffle cone."""
    wafer = pick_colour(seed.sub("wafer"), "d09a50 b87a38 e0b878")
    cone = convex(u, v, [(-0.5, -0.02), (0.5, -0.02), (0.05, 1.25), (-0.05, 1.25)])
    net = np.minimum(wave(u * 4.5 + v * 3.0), wave(u * 4.5 - v * 3.0))
    yield Part(cone, wafer * (0.55 + 0.55 * step(0.02, 0.4, net)), 0.2)
    for scoop in range(seed.whole("scoops", 1, 3)):
        taste = seed.sub(f"scoop{scoop}")
        cream = pick_colour(taste, "f0e0c0 5a3422 e89aa8 b8d8a8 f0f0ec c86a8a d8b070")
        chip = pick_colour(taste.sub("chip"), "3a2418 c83a4a f0e8d8 6a9a4a")
        at_x, at_y = taste.between("x", -0.1, 0.1), -0.15 - 0.42 * scoop
        lumps = noise_at(taste.sub("lumps"), u * 6.0, v * 6.0, octaves=2)
        ball = disc(u, v, at_x, at_y, 0.54 - 0.05 * scoop) + 0.1 * (lumps - 0.5)
        chips = spots(taste.sub("chips"), u * 4.5, v * 4.5, taste.between("size", 0.04, 0.2))
        yield Part(ball, mix(cream * (0.8 + 0.35 * lumps), chip, chips), 0.4, 0.1)


def key(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A bow, a shank and a bit of worn metal."""
    metal = pick_colour(seed.sub("metal"), "c8a04a a8acb0 7a5a34 5a5e60 b87a4a")
    u, v = turned(u, v, 0.09)
    bow = length(u + 0.68, v)
    if seed.chance("trefoil", 0.4):
        leaf, _ = harmonic(u + 0.68, v, 3)
        head = cut(bow - (0.46 - 0.1 * leaf), bow - (0.22 - 0.06 * leaf))
    else:
        head = cut(bow - 0.52, ellipse(u, v, -0.68, 0.0, seed.between("eye", 0.18, 0.32), 0.3))
    shank = box(u, v, 0.4, 0.0, 0.82, 0.12, 0.05)
    bit = box(u, v, 0.92, 0.28, 0.28, 0.24, 0.02)
    notches = np.abs(fract(u * seed.between("wards", 2.6, 4.0)) - 0.5) - 0.16
    bit = cut(bit, np.maximum(notches, 0.3 - v))
    collar = box(u, v, -0.14, 0.0, 0.07, 0.2, 0.03)
    worn = 0.65 + 0.35 * brushed(seed.sub("brushed"), u, v)
    tarnish = noise_at(seed.sub("tarnish"), u * 4.0, v * 4.0, octaves=2)
    tone = metal * (worn + 0.4 * (tarnish - 0.5))
    yield Part(np.minimum(np.minimum(head, shank), np.minimum(bit, collar)), tone, 0.12, 0.45)


def lighthouse(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """A tapering painted tower with a gallery and a lantern."""
    paint = pick_colour(seed.sub("paint"), "c0302a 2a3a6a 1f1f22 3a7a5a c8883a")
    lime = pick_colour(seed.sub("lime"), "f0ece2 e0d8c8 d0d4d8")
    tower = convex(u, v, [(-0.27, -0.62), (0.27, -0.62), (0.44, 1.2), (-0.44, 1.2)])
    slant = seed.pick("slant", (0.0, 0.0, 1.1, -1.1))
    curve = 0.12 * u * u
    rings = bands((v + curve + slant * u) * seed.between("rings", 1.1, 1.9) + 0.3, 10.0)
    stain = 0.85 + 0.3 * noise_at(seed.sub("stain"), u * 6.0, v * 1.6, octaves=2)
    openings = np.maximum(np.abs(u) - 0.06, np.abs(fract(v * 1.4 + 0.2) - 0.5) * 0.7 - 0.07)
    yield Part(
        box(u, v, 0.0, -0.83, 0.19, 0.2),
        mix(colour("3a4650"), colour("f8e8a0"), wave(u * 5.0)),
        0.04,
    )
    yield Part(convex(u, v, [(-0.27, -0.98), (0.0, -1.26), (0.27, -0.98)]), paint * 0.9, 0.08)
    yield Part(tower, mix(lime, paint, rings) * stain, 0.3)
    yield Part(np.maximum(openings, np.abs(v - 0.2) - 0.8), BLACK * 2.0, 0.0)
    yield Part(box(u, v, 0.0, -0.63, 0.4, 0.05, 0.02), colour("3a3a3e"), 0.03)
    yield Part(box(u, v, 0.0, 1.2, 0.62, 0.08), colour("7a746a"), 0.06)


def traffic_light(seed: Seed, u: Field, v: Field) -> Iterator[Part]:
    """Three round lamps in a dark case on a post, one of them lit."""
    case = pick_colour(seed.sub("case"), "24282a 3a3a24 d8b030 3a4a3a 5a5e62")
    lit = seed.whole("lit", 0, 2)
    yield Part(box(u, v, 0.0, 1.0, 0.09, 0.3), colour("6a6e72"), 0.08)
    yield Part(box(u, v, 0.0, -0.2, 0.46, 1.04, 0.14), case, 0.12, 0.15)
    for lamp, code in enumerate(("e02a24", "f0b020", "30c060")):
        at_y = -0.84 + 0.64 * lamp
        glass = length(u, v - at_y)
        glow = colour(code) * (1.0 if lamp == lit else 0.28)
        hot = step(0.28, 0.0, glass) * (0.7 if lamp == lit else 0.08)
        rib = 0.9 + 0.14 * wave(u * 9.0) * wave(v * 9.0)
        hood = np.maximum(glass - 0.33, v - at_y + 0.06)
        yield Part(hood, case * 0.5, 0.06)
        yield Part(glass - 0.26, mix(glow, WHITE, hot) * rib, 0.08, 0.2)
