"""Colour: planes, mixing and the finishing of a picture.

Colours are linear shares of 255 held in [0, 1], stored plane by plane: a picture is [3, height,
width], a plain colour [3, 1, 1]. Planes keep the innermost loop long, which is where numpy is fast.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .field import Field, blurred, clamp, eased, grid
from .noise import Seed, grain

Planes: TypeAlias = Field
"""A colour per pixel [3, height, width], or one colour [3, 1, 1], in [0, 1]."""


def colour(code: str) -> Planes:
    """The colour of a six-digit hexadecimal code, as [3, 1, 1]."""
    channels = [int(code[start : start + 2], 16) for start in (0, 2, 4)]
    return np.asarray(channels, dtype=np.float64).reshape(3, 1, 1) * (1.0 / 255.0)


BLACK = colour("15120f")
WHITE = colour("f2efe8")


def varied(seed: Seed, plain: Planes, spread: float = 0.1) -> Planes:
    """``plain`` made lighter or darker by up to ``spread``, and a little off in each channel."""
    light = 1.0 + seed.between("light", -spread, spread)
    off = [seed.between(channel, -0.5, 0.5) * spread for channel in ("red", "green", "blue")]
    return clamp(plain * light + np.asarray(off, dtype=np.float64).reshape(3, 1, 1))


def pick_colour(seed: Seed, codes: str, spread: float = 0.1) -> Planes:
    """One of the blank-separated colour ``codes``, varied."""
    return varied(seed, colour(seed.pick("code", codes.split())), spread)


def mix(start: Planes, end: Planes, t: Field) -> Planes:
    """``start`` where ``t`` [height, width] is 0, ``end`` where it is 1."""
    planes = (end - start) * t
    planes += start
    return planes


def over(under: Planes, top: Planes, alpha: Field) -> None:
    """Lay ``top`` over the picture ``under`` where ``alpha`` [height, width] says, in place."""
    under += (top - under) * alpha


def develop(
    seed: Seed,
    planes: Planes,
    *,
    exposure: float = 0.0,
    contrast: float = 0.0,
    cast: float = 0.0,
    vignette: float = 0.0,
    blur: int = 0,
    noise: float = 0.0,
) -> NDArray[np.uint8]:
    """A camera's part in a picture: [3, 128, 128] planes to uint8 [128, 128, 3].

    ``exposure`` in about [-0.5, 1] lifts or lowers the middle tones and leaves black and white;
    ``contrast`` in [-0.5, 1] bends the tones into an S (or flattens them); ``cast`` is how far the
    white may drift to a colour; ``vignette`` darkens the corners; ``blur`` is a radius in pixels;
    ``noise`` is the sensor's amplitude.
    """
    planes = blurred(planes, blur) if blur else planes.copy()
    if cast:
        planes *= 1.0 + (seed.units("cast", 3, 1, 1) - 0.5) * (2.0 * cast)
    if vignette:
        x, y = grid()
        x, y = x * (1.0 / 64.0) - 1.0, y * (1.0 / 64.0) - 1.0
        planes *= 1.0 - vignette * 0.5 * (x * x + y * y)
    np.clip(planes, 0.0, 1.0, out=planes)
    if exposure:
        lift = 1.0 + exposure * planes
        planes *= 1.0 + exposure
        planes /= lift
    if contrast:
        bend = eased(planes)
        bend -= planes
        bend *= contrast
        planes += bend
    if noise:
        planes += grain(seed) * noise
    return quantised(planes)


def quantised(planes: Planes) -> NDArray[np.uint8]:
    """[3, height, width] in [0, 1] to uint8 [height, width, 3], rounded half up."""
    whole = clamp(planes)
    whole *= 255.0
    whole += 0.5
    return np.ascontiguousarray(np.floor(whole, out=whole).astype(np.uint8).transpose(1, 2, 0))
