"""A contact sheet: what a domain looks like, with the truth outlined."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .domain import Domain, DomainClass

OUTLINE = (255, 64, 32)
_LABEL = 14


def outlined(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], colour: tuple[int, int, int] = OUTLINE
) -> NDArray[np.uint8]:
    """`image` [S, S, 3] with the border of `mask` [S, S] drawn inside it, about 1 % of S wide."""
    fore = mask.astype(bool)
    width = max(1, mask.shape[0] // 100)
    inner = fore.copy()
    for _ in range(width):
        eroded = inner.copy()
        eroded[1:] &= inner[:-1]
        eroded[:-1] &= inner[1:]
        eroded[:, 1:] &= inner[:, :-1]
        eroded[:, :-1] &= inner[:, 1:]
        inner = eroded
    result = np.array(image)
    result[fore & ~inner] = colour
    return result


def contact_sheet(domain: Domain, *, columns: int = 8, side: int = 128) -> bytes:
    """A PNG: one row per class, evenly spread pictures, the class name above.

    Raises:
        DataError: if a picture cannot be read.
    """
    classes = domain.classes
    sheet = Image.new("RGB", (columns * side, len(classes) * (side + _LABEL)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, entry in enumerate(classes):
        top = row * (side + _LABEL)
        pen.text((2, top), f"{entry.name} ({len(entry.items)})", fill="black")
        for column, picture in enumerate(_pictures(domain, entry, columns)):
            sheet.paste(picture.resize((side, side)), (column * side, top + _LABEL))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _pictures(domain: Domain, entry: DomainClass, count: int) -> list[Image.Image]:
    step = max(1, len(entry.items) / count)
    chosen = [entry.items[int(i * step)] for i in range(min(count, len(entry.items)))]
    return [Image.fromarray(outlined(domain.image(i), domain.truth(i))) for i in chosen]
