"""What the domains of the mini suite are, and the picture that each of them draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 128
"""Height and width of every picture, in pixels."""

VOID: Final = 255
"""The label of pixels which no evaluation may count."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and its truth.

    ``image`` is uint8 RGB of shape [128, 128, 3]. ``labels`` is uint8 of shape [128, 128]: 0 where
    no class is, c + 1 where class c is, 255 on the border which only the source domain leaves out.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A domain whose pictures are drawn.

    Attributes:
        name: of the domain.
        classes: their names, in the order of their indices.
        pictures: for each class, the sorted names of the pictures that show it.
        paint: draws the picture of a name.
    """

    name: str
    classes: tuple[str, ...]
    pictures: tuple[tuple[str, ...], ...]
    paint: Callable[[str], Picture]

    def draw(self, name: str) -> Picture:
        """Draw one picture. Raises ValueError for an unknown name."""
        if not any(name in names for names in self.pictures):
            raise ValueError(f"{self.name} has no picture {name!r}")
        return self.paint(name)
