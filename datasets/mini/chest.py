"""mini-chest: frontal chest films (model: the Shenzhen and Montgomery sets).

1 class, both lungs as one mask, 60 films. The mask is the anatomical lung field: opacities in it
belong to it, the heart's shadow does not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .field import Field, blurred, clamp, grid, step
from .noise import Seed, fractal, smooth_noise
from .paint import develop
from .picture import SIDE, Drawn, Picture
from .shapes import box, ellipse
from .thorax import Build, chest_frame, lungs, opacity, skeleton, torso, vessels

COUNT: Final = 60

LETTERS: Final = {
    "L": ("100", "100", "100", "100", "111"),
    "R": ("110", "101", "110", "101", "101"),
    "P": ("110", "101", "110", "100", "100"),
    "A": ("010", "101", "111", "101", "101"),
}
"""Lead letters, five rows of three. The patient's right is on the left of the film."""


def paint(name: str) -> Picture:
    """Draw one film."""
    seed = Seed(name)
    u, v = chest_frame(seed.sub("frame"), *grid())
    build = Build.drawn(seed.sub("build"))
    away = lungs(seed.sub("lungs"), build, u, v)
    film = _marked(seed.sub("marks"), _exposed(seed, build, u, v, away))
    shown = _window(seed.sub("window"))
    film = np.where(shown, film, 0.02)
    camera = seed.sub("camera")
    image = develop(
        camera,
        np.stack([film, film, film]),
        exposure=camera.central("exposure", -0.6, 1.3),
        contrast=camera.central("contrast", -0.5, 1.0),
        vignette=camera.between("vignette", 0.0, 0.35),
        blur=1 if camera.chance("blur", 0.4) else 0,
        noise=camera.between("noise", 0.004, 0.03),
    )
    return Picture(image, ((away < 0.0) & shown).astype(np.uint8))


DOMAIN: Final = Drawn(
    "mini-chest", ("lung",), (tuple(f"chest/{number:03d}" for number in range(COUNT)),), paint
)


def _exposed(seed: Seed, build: Build, u: Field, v: Field, away: Field) -> Field:
    """Brightness of the film [128, 128]: air is dark, what stops the rays is bright."""
    soft = seed.between("soft", 0.01, 0.035)
    inside = step(soft, -2.5 * soft, away)
    ribs, bones = skeleton(seed.sub("skeleton"), build, u, v)
    tissue = 0.66 + 0.2 * (fractal(seed.sub("tissue"), 40.0, 3) - 0.5) + 0.1 * v
    tissue = tissue + 0.16 * step(0.34, 0.1, np.abs(u)) * step(-0.5, 0.0, v)
    tissue = tissue + 0.12 * step(build.base - 0.3, build.base, v)
    air = seed.between("air", 0.16, 0.42) + seed.between("fade", -0.1, 0.2) * (0.4 - v) * 0.5
    air = air + seed.between("tilt", -0.1, 0.1) * u + 0.16 * step(-0.12, 0.02, away)
    air = air + 0.14 * (smooth_noise(seed.sub("uneven"), 30.0) - 0.5)
    air = air + seed.between("vessels", 0.04, 0.15) * vessels(seed.sub("vessels"), u, v)
    if seed.chance("ill", 0.5):
        air = air + seed.between("disease", 0.2, 0.5) * opacity(seed.sub("disease"), u, v)
    film = tissue + (np.minimum(air, tissue) - tissue) * inside
    film = film + seed.between("ribs", 0.04, 0.14) * ribs * (0.35 + 0.65 * inside)
    film = film + seed.between("bones", 0.05, 0.16) * bones
    windpipe = step(0.05, 0.02, np.abs(u - 0.02)) * step(-0.2, -0.4, v)
    film = film - seed.between("windpipe", 0.0, 0.14) * windpipe
    if seed.chance("stomach", 0.5):
        wide, high = seed.between("wide", 0.1, 0.2), seed.between("high", 0.05, 0.12)
        bubble = ellipse(u, v, seed.between("bubble", 0.28, 0.52), build.base + 0.1, wide, high)
        film = film - seed.between("gas", 0.08, 0.28) * step(0.05, -0.07, bubble)
    body = step(0.05, -0.1, torso(seed.sub("torso"), u, v))
    return clamp(film) * (0.06 + 0.94 * body)


def _marked(seed: Seed, film: Field) -> Field:
    """The film with lead letters, a label, a wire."""
    x, y = grid()
    film = film.copy()
    for mark in range(seed.whole("letters", 0, 2)):
        _letter(seed.sub(mark), film)
    if seed.chance("label", 0.2):
        at_x, at_y = seed.pick("label x", (10.0, 116.0)), seed.between("label y", 4.0, 12.0)
        film = np.where(box(x, y, at_x, at_y, 9.0, 4.0) < 0.0, 0.97, film)
    if seed.chance("wire", 0.2):
        bend = smooth_noise(seed.sub("wire"), 60.0)
        course = np.abs(y * 0.4 + x - 128.0 * bend - seed.between("wire x", -10.0, 60.0))
        film = film + 0.18 * step(1.4, 0.3, course)
    return blurred(film, 1) if seed.chance("soft", 0.3) else film


def _letter(seed: Seed, film: Field) -> None:
    """A lead letter in one of the upper corners, in place."""
    size = seed.whole("size", 1, 3)
    west = seed.chance("west", 0.5)
    letter = LETTERS[seed.pick("letter", "RPA" if west else "LPA")]
    rows = [[float(bit) for bit in row] for row in letter]
    stamp = np.asarray(rows).repeat(size, axis=0).repeat(size, axis=1)
    top = seed.whole("top", 3, 24)
    left = seed.whole("left", 3, 16) if west else seed.whole("left", 106, 116)
    window = film[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    np.maximum(window, 0.95 * stamp, out=window)


def _window(seed: Seed) -> NDArray[np.bool_]:
    """The exposed part of the film; a margin round it stays black, and no lung is marked there."""
    if not seed.chance("margin", 0.35):
        return np.ones((SIDE, SIDE), dtype=np.bool_)
    x, y = grid()
    at_x, at_y = seed.between("x", 60.0, 68.0), seed.between("y", 60.0, 68.0)
    half_x, half_y = seed.between("half x", 56.0, 64.0), seed.between("half y", 55.0, 64.0)
    return box(x, y, at_x, at_y, half_x, half_y) < 0.0
