"""The ground from above: a painter of the whole tile [3, 128, 128] for each kind of land cover.

One pixel stands for about a metre and a half. The painters share their colours to a large degree;
what tells the classes apart is their texture.
"""

from __future__ import annotations

import numpy as np

from .field import Field, clamp, fract, grid, lerp, step, turned, wave
from .noise import LATTICE, Seed, cells_at, dots_at, fractal, grain, noise_at, smooth_noise
from .paint import Planes, colour, mix, over, pick_colour
from .texture import polka

CROPS = "5a6a38 4a5c34 7a7a48 8a7a54 6a5238 9a8a60 3e4c30 7c8c4c 84684a 566048"
"""Green, ripe and ploughed."""


def canopy(seed: Seed) -> Planes:
    """Crowns side by side, lit from one side, dark between."""
    x, y = grid()
    size = 1.0 / seed.between("crowns", 3.6, 7.0)
    bend = fractal(seed.sub("bend"), 20.0, 3)
    near, _, own = cells_at(seed.sub("trees"), x * size + bend, y * size + bend, 0.9)
    leaf = pick_colour(seed.sub("leaf"), "4c583c 404e34 566040 4e583a 5e6444 686646")
    dome = clamp(1.0 - 1.25 * near)
    return leaf * (0.5 + 0.4 * dome + 0.3 * own + 0.5 * _slope(dome))


def agriculture(seed: Seed, trees: Planes) -> Planes:
    """Parcels with straight borders; drilled rows, orchards, fallow."""
    x, y = grid()
    u, v = turned(x, y, seed.unit("turn"))
    high, start = 1.0 / seed.between("high", 18.0, 46.0), seed.unit("row")
    row = np.floor(v * high + start)
    phase = _per(seed.sub("phase"), row, row)
    long = 1.0 / seed.between("wide", 18.0, 52.0)
    place = u * long * (0.6 + 0.9 * _per(seed.sub("width"), row, row)) + 7.0 * phase
    column = np.floor(place)
    edge = np.minimum(
        _edge(v, high, start),
        np.minimum(fract(place), 1.0 - fract(place)) * (1.0 / long),
    )
    crop = _per(seed.sub("crop"), row, column)
    own = _per(seed.sub("own"), row, column)
    planes = _palette(seed.sub("crops"), crop, CROPS, 4)
    rows = wave(np.where(own < 0.5, u, v) * lerp(0.16, 0.32, _per(seed.sub("drill"), row, column)))
    drilled = seed.between("drilled", 0.0, 0.22) * step(0.35, 0.5, fract(own * 7.0))
    orchard = step(0.82, 0.83, fract(own * 13.0))
    saplings = polka(u * 0.2, v * 0.2, 0.3)
    patchy = fractal(seed.sub("patchy"), 22.0, 4)
    planes *= 0.72 + 0.5 * patchy - drilled * (rows - 0.5)
    planes *= 1.0 - seed.between("planted", 0.2, 0.55) * orchard * saplings
    if seed.chance("wooded", 0.6):
        grove = step(0.72, 0.74, fract(own * 5.0 + crop))
        over(planes, trees, grove * 0.9)
    hedge = pick_colour(seed.sub("hedge"), "2e3a26 9a8a68 6a6a44 3a3f2c")
    hedged = seed.between("hedged", 0.1, 0.75)
    over(planes, hedge, step(1.6, 0.4, edge + 3.0 * (patchy - 0.5)) * hedged)
    return planes


def urban(seed: Seed, trees: Planes) -> Planes:
    """Roofs and their shadows along streets, yards and trees between them."""
    x, y = grid()
    u, v = turned(x, y, seed.unit("turn"))
    patchy = fractal(seed.sub("patchy"), 16.0, 3)
    yard = pick_colour(seed.sub("yard"), "8a7a60 6a6a4a 9a8a74 7a6a58")
    planes = mix(yard, colour("4a5a38"), step(0.45, 0.6, patchy)) * (0.7 + 0.6 * patchy)
    lot = seed.between("lot", 7.5, 11.0)
    roof, tint, shadow = _houses(seed.sub("houses"), u, v, 1.0 / lot)
    planes *= 1.0 - 0.55 * shadow
    roofs = _palette(seed.sub("roofs"), tint, "9a6450 a89c8c 82807c b8b0a2 7a5e4c 8a98a0 a88c70", 5)
    over(planes, roofs * (0.88 + 0.12 * grain(seed.sub("tiles"))), roof)
    green = step(0.5, 0.62, fractal(seed.sub("green"), 14.0, 3)) * (1.0 - 0.7 * roof)
    over(planes, trees, green * seed.between("leafy", 0.3, 1.0))
    block = 1.0 / (lot * seed.whole("block", 2, 4))
    kerb = np.minimum(_edge(u, block, 0.0), _edge(v, 2.0 * block, 0.0))
    street = pick_colour(seed.sub("street"), "8a8680 a89c88 70706e b0a490")
    over(planes, street, step(1.8, 0.8, kerb) * seed.between("paved", 0.35, 0.95))
    return planes


def rangeland(seed: Seed, trees: Planes) -> Planes:
    """Open grass and scrub: soft mottling, single bushes, cattle tracks."""
    x, y = grid()
    grass = pick_colour(seed.sub("grass"), "6e6c4a 7e7656 5e6242 8a7c60 666c4c")
    dry = pick_colour(seed.sub("dry"), "92856a 7c6e54 545a3e 9a8e74")
    mottle = fractal(seed.sub("mottle"), 34.0, 5, 0.6)
    rough = fractal(seed.sub("rough"), 7.0, 2)
    planes = mix(grass, dry, step(0.38, 0.62, mottle)) * (0.8 + 0.4 * rough)
    planes *= 1.0 + seed.between("hilly", 0.0, 1.6) * _slope(mottle)
    size = 1.0 / seed.between("scrub", 6.0, 13.0)
    bend = 0.9 * mottle
    bush = dots_at(seed.sub("bush"), x * size + bend, y * size + bend, 0.17)
    grown = step(0.4, 0.55, smooth_noise(seed.sub("grown"), 30.0))
    over(
        planes, colour("3c452c"), step(0.09, -0.06, bush) * grown * seed.between("bushy", 0.0, 0.8)
    )
    if seed.chance("groves", 0.5):
        grove = step(0.6, 0.68, fractal(seed.sub("groves"), 18.0, 4))
        over(planes, trees, grove * 0.85)
    track = np.abs(smooth_noise(seed.sub("track"), 60.0) - 0.5)
    over(planes, dry * 1.2, step(0.016, 0.006, track) * 0.6)
    return planes


def forest(seed: Seed, trees: Planes) -> Planes:
    """A closed canopy with lighter stands and clearings."""
    stand = fractal(seed.sub("stand"), 40.0, 4)
    planes = trees * (0.75 + 0.5 * stand)
    clearing = pick_colour(seed.sub("clearing"), "6e6c4a 7e7656 5e6242")
    over(planes, clearing * (0.6 + 0.7 * stand), step(0.66, 0.74, stand) * 0.8)
    return planes


def water(seed: Seed, trees: Planes) -> Planes:
    """Smooth and nearly even: clear, green or loaded with silt."""
    x, y = grid()
    deep = pick_colour(seed.sub("deep"), "4a5a54 5a6a66 3a4c54 8a7a62 6a6e58 98866c 42564a")
    silt = pick_colour(seed.sub("silt"), "8a7c64 6a7264 5e6e6a 968a70")
    drift = fractal(seed.sub("drift"), 70.0, 3)
    planes = mix(deep, silt, step(0.35, 0.8, drift) * seed.between("silty", 0.1, 0.8))
    ripple = noise_at(seed.sub("ripple"), *turned(x * 0.12, y * 0.4, seed.unit("wind")), octaves=2)
    shallow = step(0.6, 0.75, fractal(seed.sub("weeds"), 24.0, 3)) * seed.between(
        "weeds", -1.2, 0.6
    )
    over(planes, trees, shallow * (shallow > 0.0))
    return planes * (0.97 + seed.between("rough", 0.02, 0.1) * ripple)


def barren(seed: Seed, trees: Planes) -> Planes:
    """Bare rock, sand and diggings: bright, gullied, gritty."""
    sand = pick_colour(seed.sub("sand"), "a48f74 94826a b09e84 8a8070 9a8062 80745e")
    relief = fractal(seed.sub("relief"), 30.0, 5, 0.6)
    slope = _slope(relief)
    layers = wave(relief * seed.between("layers", 3.0, 9.0))
    gully = np.abs(fractal(seed.sub("gully"), 26.0, 3) - 0.5)
    grit = 0.06 * grain(seed.sub("grit"))
    scrub = step(0.62, 0.7, fractal(seed.sub("scrub"), 20.0, 4)) * seed.between("scrub", -0.6, 0.8)
    shade = 0.72 + 0.3 * relief + seed.between("steep", 0.6, 3.0) * slope + 0.1 * layers + grit
    washed = seed.between("washed", 0.0, 0.3)
    planes = sand * shade * (1.0 - washed * step(0.05, 0.01, gully))
    over(planes, trees, scrub * (scrub > 0.0))
    return planes


def _slope(height: Field) -> Field:
    """How far the ground falls away from the light, which comes from the upper left."""
    slope = np.zeros(height.shape)
    slope[1:, 1:] = height[1:, 1:] - height[:-1, :-1]
    return slope


def _edge(x: Field, frequency: float, phase: float) -> Field:
    """Distance to the nearest of the lines which cut ``x`` into strips, in the units of ``x``."""
    t = fract(x * frequency + phase)
    return np.minimum(t, 1.0 - t) * (1.0 / frequency)


def _per(seed: Seed, row: Field, column: Field) -> Field:
    """A value in [0, 1) for every pair of whole numbers."""
    i, j = row.astype(np.int64) & (LATTICE - 1), column.astype(np.int64) & (LATTICE - 1)
    return np.take(seed.units("per", LATTICE * LATTICE), i * LATTICE + j)


def _palette(seed: Seed, t: Field, codes: str, count: int) -> Planes:
    """One of ``count`` colours drawn from ``codes`` wherever ``t`` in [0, 1) says."""
    drawn = [pick_colour(seed.sub(number), codes) for number in range(count)]
    table = np.concatenate(drawn, axis=1)[:, :, 0]
    return np.take(table, np.floor(t * count).astype(np.int64), axis=1)


def _houses(seed: Seed, u: Field, v: Field, frequency: float) -> tuple[Field, Field, Field]:
    """One house per lot: the coverage of its roof, its tint and the coverage of its shadow."""
    column, row = np.floor(u * frequency), np.floor(v * frequency)
    s, t = fract(u * frequency) - 0.5, fract(v * frequency) - 0.5
    half_s = 0.2 + 0.2 * _per(seed.sub("long"), row, column)
    half_t = 0.2 + 0.2 * _per(seed.sub("wide"), row, column)
    built = _per(seed.sub("built"), row, column) < seed.between("density", 0.5, 0.9)
    sharp = 1.0 / frequency
    roof = clamp(0.5 - np.maximum(np.abs(s) - half_s, np.abs(t) - half_t) * sharp)
    cast = np.maximum(np.abs(s - 0.12) - half_s, np.abs(t - 0.1) - half_t)
    shadow = clamp(0.5 - cast * sharp) * (1.0 - roof)
    tint = _per(seed.sub("tint"), row, column)
    ridge = 1.0 - 0.2 * step(0.0, 0.1, s)
    return roof * built, tint, shadow * built * ridge
