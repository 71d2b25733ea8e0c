"""mini-lesion: skin lesions under a dermatoscope (model: ISIC 2018).

3 classes with 72, 24 and 36 pictures of one lesion each. The truth is the smooth outline which
an annotator draws round all visible pigment, not the ragged edge of the pigment itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from .dermoscopy import bubbles, hairs, ink, ruler, shine, skin, sticker, tube
from .field import Field, grid, harmonic, length, lowest, step, turned
from .noise import Seed, fractal, smooth_noise
from .paint import Planes, develop, over
from .picture import SIDE, Drawn, Picture
from .pigment import melanoma, nevus, seborrheic_keratosis

CLASSES: tuple[str, ...] = ("nevus", "seborrheic_keratosis", "melanoma")
COUNTS: Final = (72, 24, 36)

PIGMENTS: Final[tuple[Callable[[Seed, Field], tuple[Planes, Field]], ...]] = (
    nevus,
    seborrheic_keratosis,
    melanoma,
)
RAGGED: Final = ((0.02, 0.16), (0.08, 0.3), (0.14, 0.42))
"""Per class, how far the outline strays from an oval: least and most, as a share of its radius."""

FUZZY: Final = ((0.03, 0.2), (0.02, 0.1), (0.03, 0.16))
"""Per class, the width over which the pigment fades out, as a share of the radius."""

ARTEFACTS: Final = ((ink, 0.08), (hairs, 0.3), (bubbles, 0.2), (ruler, 0.28), (shine, 0.12))
"""What lies over skin and lesion, from the skin up, and how often."""

COVERS: Final = ((sticker, 0.1), (tube, 0.14))
"""What hides skin and lesion, and how often. No annotator marks what cannot be seen."""


def paint(name: str) -> Picture:
    """Draw one picture."""
    index = CLASSES.index(name.split("/")[1])
    seed = Seed(name)
    away = _distance(seed.sub("outline"), RAGGED[index])
    share = _share(seed.unit("share"))
    annotated = lowest(away, share, np.ones(away.shape, dtype=np.bool_))
    rim = float(away[annotated].max())
    fuzz = seed.between("fuzz", *FUZZY[index]) * rim
    planes = skin(seed.sub("skin"))
    ragged = away + rim * 0.3 * (fractal(seed.sub("edge"), 9.0, 3) - 0.54)
    pigment, dense = PIGMENTS[index](seed.sub("pigment"), 1.0 - away * (1.0 / rim))
    over(planes, pigment, dense * step(rim + 0.4 * fuzz, rim - 1.6 * fuzz, ragged))
    for artefact, likely in ARTEFACTS:
        if seed.chance(artefact.__name__, likely):
            artefact(seed.sub(artefact.__name__), planes)
    for cover, likely in COVERS:
        if seed.chance(cover.__name__, likely):
            annotated &= ~cover(seed.sub(cover.__name__), planes)
    camera = seed.sub("camera")
    image = develop(
        camera,
        planes,
        exposure=camera.central("exposure", -0.5, 0.5),
        contrast=camera.central("contrast", -0.35, 0.6),
        cast=camera.between("cast", 0.0, 0.1),
        vignette=camera.between("vignette", 0.0, 0.5),
        blur=1 if camera.chance("blur", 0.4) else 0,
        noise=camera.between("noise", 0.003, 0.02),
    )
    return Picture(image, np.where(annotated, np.uint8(index + 1), np.uint8(0)))


DOMAIN: Final = Drawn(
    "mini-lesion",
    CLASSES,
    tuple(
        tuple(f"lesion/{name}/{number:03d}" for number in range(count))
        for name, count in zip(CLASSES, COUNTS, strict=True)
    ),
    paint,
)


def _share(t: float) -> float:
    """The lesion's share of the picture: most are small, a few fill it."""
    return 0.03 + 0.64 * t * (0.24 + 0.76 * t * t)


def _distance(seed: Seed, ragged: tuple[float, float]) -> Field:
    """How far from the middle of the lesion a pixel lies, in a lesion-shaped metric [128, 128]."""
    x, y = grid()
    x = x - SIDE / 2 - seed.central("x", -38.0, 38.0)
    y = y - SIDE / 2 - seed.central("y", -38.0, 38.0)
    u, v = turned(x, y, seed.unit("turn"))
    u = u * seed.between("oval", 0.62, 1.0)
    much = seed.between("ragged", *ragged)
    second, _ = harmonic(*turned(u, v, seed.unit("second")), 2)
    third, _ = harmonic(*turned(u, v, seed.unit("third")), 3)
    fifth, _ = harmonic(*turned(u, v, seed.unit("fifth")), 5)
    lobes = 0.4 * second + 0.45 * third + 0.3 * fifth
    strays = 2.2 * (smooth_noise(seed.sub("strays"), seed.between("size", 14.0, 30.0)) - 0.5)
    return length(u, v) * (1.0 + much * (lobes + strays))
