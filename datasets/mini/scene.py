"""A photograph being put together: a backdrop, things laid into it, the camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .backdrop import SCENES
from .clutter import JUNK
from .field import blurred, grid
from .noise import Seed
from .paint import Planes, develop
from .picture import SIDE
from .sprite import Kind, Light, Place, Pose, Sprite, cast_shadow, render, stamp

AREA = SIDE * SIDE


@dataclass(frozen=True, slots=True)
class Scene:
    """The planes [3, 128, 128] and labels [128, 128] drawn so far, and the light on them all."""

    seed: Seed
    planes: Planes
    labels: NDArray[np.uint8]
    light: Light

    @staticmethod
    def drawn(seed: Seed, most: int, low: float, high: float, deep: float) -> Scene:
        """A backdrop and up to ``most`` things of no class before it, ``low`` to ``high`` wide.

        In ``deep`` of all cases both are out of focus.
        """
        planes = seed.pick("backdrop", SCENES)(seed.sub("backdrop"))
        labels = np.zeros((SIDE, SIDE), dtype=np.uint8)
        scene = Scene(seed, planes, labels, Light.drawn(seed.sub("light")))
        scene.scatter("behind", seed.whole("behind", 0, most), low, high)
        if seed.chance("deep", deep):
            return replace(scene, planes=blurred(planes, seed.whole("depth", 1, 2), passes=2))
        return scene

    def scatter(self, label: str, count: int, low: float, high: float) -> None:
        """Strew ``count`` things of no class, ``low`` to ``high`` pixels in half-width."""
        for piece in range(count):
            seed = self.seed.sub(label).sub(piece)
            pose = Pose(seed.between("scale", low, high), seed.unit("turns"))
            sprite = render(seed, JUNK, pose, self.light)
            x, y = seed.between("x", 0.0, SIDE), seed.between("y", 20.0, SIDE)
            self.put(sprite, centred(sprite, x, y), 0)

    def put(self, sprite: Sprite, at: Place, label: int) -> None:
        """Lay a thing over the scene, with its shadow."""
        cast_shadow(self.planes, sprite, at, self.light)
        stamp(self.planes, self.labels, sprite, at, label)

    def photograph(self, *, blur_share: float = 0.0) -> NDArray[np.uint8]:
        """The scene through a camera with a mood of its own: uint8 [128, 128, 3]."""
        seed = self.seed.sub("camera")
        x, y = grid()
        x, y = x * (1.0 / 64.0) - 1.0, y * (1.0 / 64.0) - 1.0
        fall = seed.between("fall", 0.0, 0.4) * self.light.strength
        return develop(
            seed,
            self.planes * (1.0 + fall * (x * self.light.x + y * self.light.y)),
            exposure=seed.central("exposure", -0.55, 0.9),
            contrast=seed.central("contrast", -0.5, 0.9),
            cast=seed.between("cast", 0.0, 0.22),
            vignette=seed.between("vignette", 0.0, 0.45),
            blur=1 if seed.chance("blur", blur_share) else 0,
            noise=seed.between("noise", 0.005, 0.06),
        )


def centred(sprite: Sprite, x: float, y: float) -> Place:
    """The place at which the middle of ``sprite`` comes to lie at the pixel (x, y)."""
    height, width = sprite.alpha.shape
    return Place(int(y) - height // 2, int(x) - width // 2)


def sized(seed: Seed, kind: Kind, pose: Pose, light: Light, least: int) -> Sprite:
    """A thing of ``kind`` in ``pose``, enlarged until it covers at least ``least`` pixels."""
    sprite = render(seed, kind, pose, light)
    while sprite.area < least:
        pose = replace(pose, scale=pose.scale * 1.12)
        sprite = render(seed, kind, pose, light)
    return sprite


def slack(owner: NDArray[np.uint8], least: Mapping[int, int]) -> int:
    """By how many pixels the scarcest label of ``owner`` exceeds what ``least`` asks for it."""
    counts = np.bincount(owner.ravel(), minlength=256)
    return min(int(counts[label]) - need for label, need in least.items())
