"""The picture every domain of the mini suite returns."""

from __future__ import annotations

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
