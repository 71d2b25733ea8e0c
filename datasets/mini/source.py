"""mini-source: photographs of things, the domain networks are trained on (model: PASCAL VOC).

16 classes, 960 pictures, 1 to 3 things in each. A class is known by its shape and its surface;
its colour only leans one way. Where two labels meet lies a border of 255, as in PASCAL VOC.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import source_living as living
from . import source_made as made
from .noise import Seed
from .picture import VOID, Drawn, Picture
from .scene import AREA, Scene, centred, sized, slack
from .sprite import Kind, Place, Pose, Sprite

COUNT: Final = 960
LEAST: Final = AREA // 20
"""Pixels every promised class keeps at least, the border not counted: 5 %."""

MARGIN: Final = 230
"""Pixels a thing has beyond ``LEAST`` while the scene is built, for the border to take."""

KINDS: Final[tuple[Kind, ...]] = (
    Kind(living.bird, (1.24, 1.04), 0.43, 0.12),
    Kind(living.cat, (1.06, 1.3), 0.56, 0.08),
    Kind(living.cow, (1.25, 1.07), 0.52, 0.05),
    Kind(living.fish, (1.25, 0.75), 0.38, 0.25),
    Kind(living.tree, (1.1, 1.47), 0.51, 0.04),
    Kind(living.butterfly, (1.2, 1.15), 0.73, 0.5),
    Kind(living.flower, (0.9, 1.32), 0.41, 0.15),
    Kind(living.mushroom, (1.0, 1.34), 0.59, 0.1),
    Kind(made.bottle, (0.45, 1.25), 0.34, 0.2),
    Kind(made.car, (1.22, 0.7), 0.48, 0.06),
    Kind(made.house, (1.1, 1.1), 0.74, 0.03),
    Kind(made.ball, (1.0, 1.0), 0.77, 0.5),
    Kind(made.boat, (1.2, 1.3), 0.61, 0.06),
    Kind(made.chair, (0.82, 1.25), 0.57, 0.12),
    Kind(made.umbrella, (1.14, 1.15), 0.53, 0.25),
    Kind(made.vase, (0.86, 1.14), 0.56, 0.1),
)
"""The things of the classes, in their order."""

CLASSES: tuple[str, ...] = tuple(kind.name for kind in KINDS)


def contents(name: str) -> tuple[int, ...]:
    """The classes of the things in a picture, the first one at the back; a class may come twice."""
    seed = Seed(name)
    first = int(name[-4:]) % len(CLASSES)
    count = seed.pick("count", (1, 1, 2, 2, 3))
    more = (seed.whole(f"class{place}", 0, len(CLASSES) - 1) for place in range(1, count))
    return (first, *more)


def paint(name: str) -> Picture:
    """Draw one picture."""
    classes = contents(name)
    attempt = 0
    while True:
        picture = _attempt(Seed(name).sub(attempt), classes)
        if slack(picture.labels, {index + 1: LEAST for index in classes}) >= 0:
            return picture
        attempt += 1


def _attempt(seed: Seed, classes: tuple[int, ...]) -> Picture:
    scene = Scene.drawn(seed, 4, 6.0, 26.0, deep=0.4)
    least: dict[int, int] = {}
    for layer, index in enumerate(classes):
        own = seed.sub(f"thing{layer}")
        share = own.central("share", 0.06, (0.54, 0.36, 0.28)[len(classes) - 1])
        pose = Pose.drawn(own, KINDS[index], share, narrowest=0.72)
        sprite = sized(own, KINDS[index], pose, scene.light, LEAST + MARGIN)
        least[index + 1] = LEAST + MARGIN
        scene.put(sprite, _free_place(own, sprite, scene.labels, least, index + 1), index + 1)
    if seed.chance("hidden", 0.3):
        scene.scatter("front", 1, 6.0, 16.0)
    return Picture(scene.photograph(blur_share=0.2), bordered(scene.labels))


def _free_place(
    seed: Seed, sprite: Sprite, labels: NDArray[np.uint8], least: dict[int, int], label: int
) -> Place:
    """The first of some random places which leaves enough of everything, or the best of them."""
    best, best_slack = Place(0, 0), -AREA
    for trial in range(10):
        at = centred(
            sprite, seed.between(f"x{trial}", 20.0, 108.0), seed.between(f"y{trial}", 28.0, 106.0)
        )
        (rows, columns), (own_rows, own_columns) = at.windows(*sprite.alpha.shape)
        owner = labels.copy()
        owner[rows, columns][sprite.alpha[own_rows, own_columns] >= 0.5] = label
        left = slack(owner, least)
        if left >= 0:
            return at
        if left > best_slack:
            best, best_slack = at, left
    return best


def bordered(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``labels`` with a border of 255, two pixels wide, where two of them meet."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.where(edge, np.uint8(VOID), labels)


HELD: Final = {name: contents(name) for name in (f"source/{n:04d}" for n in range(COUNT))}
DOMAIN: Final = Drawn(
    "mini-source",
    CLASSES,
    tuple(tuple(n for n, held in HELD.items() if index in held) for index in range(len(CLASSES))),
    paint,
)
