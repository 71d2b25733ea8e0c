"""A contact sheet: what a domain looks like, with the truth outlined."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..core.domain import Domain
from ..core.manifest import alternating

OUTLINE = (255, 64, 32)
_LABEL = 14


def outlined(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], colour: tuple[int, int, int] = OUTLINE
) -> NDArray[np.uint8]:
    """`image` [S, S, 3] with the border of `mask` [S, S] drawn inside it, about 1 % of S wide."""
    result = np.array(image)
    result[border(mask)] = colour
    return result


def border(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of `mask` [S, S] that lie at its edge, about 1 % of S deep."""
    from scipy import ndimage

    fore = mask.astype(bool)
    depth = max(1, mask.shape[0] // 100)
    inner = np.asarray(ndimage.binary_erosion(fore, iterations=depth, border_value=1), np.bool_)
    return fore & ~inner


def contact_sheet(domains: Sequence[Domain], *, columns: int = 8, side: int = 128) -> Image.Image:
    """Evenly spread pictures: a row per class of one domain, or a row per domain of several.

    Args:
        domains: opened.
        columns: pictures per row.
        side: of each picture in pixels.

    Raises:
        DataError: if a picture cannot be read.
    """
    if len(domains) == 1:
        rows = [(domains[0], entry.name, list(entry.items)) for entry in domains[0].classes]
    else:
        # One item of each class in turn, so that any even spread shows all classes.
        rows = [(d, d.title, list(alternating([e.items for e in d.classes]))) for d in domains]
    sheet = Image.new("RGB", (columns * side, len(rows) * (side + _LABEL)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (domain, title, pictures) in enumerate(rows):
        top = row * (side + _LABEL)
        pen.text((2, top), f"{title} ({len(pictures)})", fill="black")
        step = max(1, len(pictures) / columns)
        chosen = [pictures[int(n * step)] for n in range(min(columns, len(pictures)))]
        for column, item in enumerate(chosen):
            picture = Image.fromarray(outlined(domain.image(item), domain.truth(item)))
            sheet.paste(picture.resize((side, side)), (column * side, top + _LABEL))
    return sheet


def encoded(picture: Image.Image, suffix: str) -> bytes:
    """`picture` as the bytes of a file: JPEG for `.jpg`, PNG for anything else."""
    out = io.BytesIO()
    if suffix.lower() in (".jpg", ".jpeg"):
        picture.save(out, "JPEG", quality=90)
    else:
        picture.save(out, "PNG", optimize=True)
    return out.getvalue()
