"""How a mask lies on its picture: sizes must agree, and EXIF turns both alike."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cdfss_bench.errors import DataError

from ..upright import Header
from .decoding import Say
from .facts import Facts

Drawn = Literal["auto", "upright", "stored"]
"""On what the masks of turned photographs were drawn: the picture as viewers show it, or its pixels
as they are stored; `auto` where sizes tell."""


def turn_of(image: Path, header: Header, mask: Path, facts: Facts, drawn: Drawn, say: Say) -> int:
    """The EXIF orientation by which a stored mask becomes upright, as its picture is.

    Raises:
        DataError: if the sizes differ, or leave open how the mask lies.
    """
    if facts.orientation != 1:
        found = facts.size[::-1] if facts.orientation >= 5 else facts.size
        if found != header.upright:
            raise _of_another_size(image, header.upright, mask, found)
        return facts.orientation
    fits = {"upright": facts.size == header.upright, "stored": facts.size == header.size}
    if header.orientation == 1:
        if not fits["upright"]:
            raise _of_another_size(image, header.upright, mask, facts.size)
        return 1
    if drawn == "auto":
        if fits["upright"] and fits["stored"]:
            raise DataError(
                f"{image} is turned by its EXIF orientation ({header.orientation}), and {mask} "
                "says nothing of how it was drawn: its size fits both ways",
                hint=f"say it: {say('orientation=upright')} for masks drawn on the picture "
                f"as viewers show it, {say('orientation=stored')} for the pixels as stored",
            )
        drawn = "stored" if fits["stored"] else "upright"
    if not fits[drawn]:
        raise _of_another_size(
            image, header.upright if drawn == "upright" else header.size, mask, facts.size
        )
    return header.orientation if drawn == "stored" else 1


def _of_another_size(
    image: Path, wanted: tuple[int, int], mask: Path, found: tuple[int, ...]
) -> DataError:
    (width, height), (mask_width, mask_height) = wanted, found
    if (mask_height, mask_width) == wanted:
        how = f"turn the mask or the picture by 90 degrees, so that both are {width}x{height}"
    elif abs(width * mask_height - height * mask_width) <= max(*wanted, *found):
        how = f"bring the mask to {width}x{height} without smoothing (nearest neighbour)"
    else:
        how = "replace it by the mask of this picture"
    return DataError(
        f"{mask} is {mask_width}x{mask_height} but its picture {image} is {width}x{height}",
        hint=how,
    )
