"""mini-objects: one thing among clutter, seen once in training or never (model: FSS-1000).

20 classes of which the source domain has none, 10 pictures each.
"""

from __future__ import annotations

from typing import Final

from . import objects_living as living
from . import objects_made as made
from .noise import Seed
from .picture import SIDE, Drawn, Picture
from .scene import AREA, Scene, centred, sized
from .sprite import Kind, Pose

PER_CLASS: Final = 10

KINDS: Final[tuple[Kind, ...]] = (
    Kind(living.apple, (1.07, 1.2), 0.73, 0.15),
    Kind(living.banana, (1.45, 1.04), 0.44, 0.5),
    Kind(living.cactus, (0.9, 1.25), 0.60, 0.05),
    Kind(living.duck, (1.2, 0.96), 0.57, 0.1),
    Kind(living.ladybird, (1.25, 1.3), 0.71, 0.5),
    Kind(living.penguin, (0.86, 1.25), 0.59, 0.08),
    Kind(living.pineapple, (0.75, 1.34), 0.53, 0.25),
    Kind(living.snail, (1.2, 1.0), 0.79, 0.1),
    Kind(living.starfish, (1.24, 1.18), 0.38, 0.5),
    Kind(living.turtle, (1.22, 1.3), 0.76, 0.5),
    Kind(made.die, (0.96, 1.13), 0.73, 0.3),
    Kind(made.doughnut, (1.18, 1.18), 0.97, 0.5),
    Kind(made.gear, (1.14, 1.14), 0.66, 0.5),
    Kind(made.guitar, (0.55, 1.3), 0.35, 0.5),
    Kind(made.hot_air_balloon, (0.86, 1.28), 0.65, 0.08),
    Kind(made.hourglass, (0.75, 1.2), 0.70, 0.25),
    Kind(made.ice_cream, (0.68, 1.48), 0.41, 0.15),
    Kind(made.key, (1.1, 1.1), 0.28, 0.5),
    Kind(made.lighthouse, (0.65, 1.3), 0.41, 0.04),
    Kind(made.traffic_light, (0.48, 1.3), 0.49, 0.06),
)
"""The things of the classes, in their order."""

CLASSES: tuple[str, ...] = tuple(kind.name for kind in KINDS)


def paint(name: str) -> Picture:
    """Draw one picture."""
    index = CLASSES.index(name.split("/")[1])
    seed = Seed(name)
    scene = Scene.drawn(seed, 5, 5.0, 20.0, deep=0.5)
    twins = seed.chance("twins", 0.12)
    share = seed.between("share", 0.08, 0.42)
    for copy in range(2 if twins else 1):
        own = seed.sub(copy)
        covers = 0.45 * share if twins else share
        pose = Pose.drawn(own, KINDS[index], covers, narrowest=0.78)
        sprite = sized(own, KINDS[index], pose, scene.light, AREA // 16)
        side = (-30.0, 30.0)[copy] if twins else own.between("x", -32.0, 32.0)
        at = centred(sprite, SIDE / 2 + side, SIDE / 2 + own.between("y", -26.0, 30.0))
        scene.put(sprite, at, index + 1)
    return Picture(scene.photograph(blur_share=0.15), scene.labels)


DOMAIN: Final = Drawn(
    "mini-objects",
    CLASSES,
    tuple(
        tuple(sorted(f"objects/{name}/{number}" for number in range(1, PER_CLASS + 1)))
        for name in CLASSES
    ),
    paint,
)
