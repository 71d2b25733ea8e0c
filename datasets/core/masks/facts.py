"""What a mask file holds, before anything is said of what it means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..upright import is_transparent, opened_picture, orientation_of

COLOUR = 1 << 40
"""Added to a colour's 24 bits, so that no colour is taken for a grey value."""

MOST_VALUES = 4096
"""A label map of instances may hold hundreds of values; beyond this a file is no label map."""

_MOST_COLOURS = 256
_LOSSY = ("JPEG", "MPO")
_SOMETIMES_LOSSY = ("WEBP", "AVIF", "JPEG2000")
BLACK, WHITE = 0, 0xFFFFFF

Codes = NDArray[np.integer[Any]]
Doubt = Literal["", "palette", "many", "fractions", "lossy", "lossy colours"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What one mask file holds.

    Attributes:
        size: (width, height) as stored.
        orientation: of EXIF, 1 to 8.
        kind: one channel (or three equal ones), indices of a palette, or colours.
        bits: of a channel; 0 for fractions.
        values: the distinct grey values, indices or colours (24 bits) of pixels that are not
            transparent.
        colours: of the indices in `values`, 24 bits each.
        alpha: the distinct values of the alpha channel; none if all is opaque.
        hides: whether transparency says something that the other channels do not.
        cut: whether a lossy file was cut at 128 into 0 and 255.
        doubt: why the file means nothing certain without an option; empty if it does.
    """

    size: tuple[int, int]
    orientation: int
    kind: Literal["grey", "palette", "colour"]
    bits: int
    values: tuple[int, ...]
    colours: tuple[int, ...] = ()
    alpha: tuple[int, ...] = ()
    hides: bool = False
    cut: bool = False
    doubt: Doubt = ""

    @property
    def shown(self) -> tuple[int, ...]:
        """What is seen in place of each of `values`: a grey value, or `COLOUR` + 24 bits."""
        if self.kind == "grey":
            return tuple(255 * value for value in self.values) if self.bits == 1 else self.values
        return tuple(map(seen, self.colours if self.kind == "palette" else self.values))

    @property
    def is_label_palette(self) -> bool:
        """Whether indices of a palette are labels: its colours are not just black and white."""
        return self.kind == "palette" and not set(self.shown) <= {0, 255}


@dataclass(frozen=True, slots=True)
class Look:
    """One mask file, decoded: its facts, its values [H, W] and its alpha channel, as stored."""

    facts: Facts
    codes: Codes
    alpha: NDArray[np.uint8] | None


def look_at(path: Path) -> Look:
    """The mask at `path`, decoded.

    Raises:
        DataError: if the file is missing, damaged, or holds several frames.
    """
    with opened_picture(path) as image:
        return _look(image)


def seen(colour: int) -> int:
    """A colour of 24 bits as its grey value if it is a grey, else with `COLOUR` added."""
    red, green, blue = colour >> 16, colour >> 8 & 255, colour & 255
    return red if red == green == blue else COLOUR + colour


def spelled(value: int) -> str:
    """A grey value or colour as options spell it."""
    return f"#{value - COLOUR:06x}" if value >= COLOUR else str(value)


def _look(image: Image.Image) -> Look:
    orientation, lossy = orientation_of(image), image.format or ""
    image.load()
    alpha = _alpha(image)
    kind, bits, codes, doubt = _codes(image, lossy)
    hidden = None if alpha is None else alpha == 0
    values = _distinct(codes if hidden is None else codes[~hidden])
    colours: tuple[int, ...] = ()
    if kind == "palette":
        palette = _palette(image)
        colours = tuple(palette[v] if v < len(palette) else BLACK for v in values)
        if all(colour == value * 0x010101 for value, colour in zip(values, colours, strict=True)):
            kind, colours = "grey", ()
        elif not doubt and _is_shuffled(palette, values, colours):
            doubt = "palette"
    cut = False
    if kind == "grey" and (lossy in _LOSSY or (lossy in _SOMETIMES_LOSSY and len(values) > 2)):
        if values in ((), (0,)):
            pass
        elif _has_two_ends(codes):
            codes, cut = np.where(codes >= 128, 255, 0), len(values) > 2
            values = _distinct(codes if hidden is None else codes[~hidden])
        else:
            doubt = "lossy"
    hides = alpha is not None and not _adds_nothing(alpha, codes, values)
    limit = _MOST_COLOURS if kind == "colour" else MOST_VALUES
    if len(values) > limit:
        values, colours, doubt = (), (), doubt if doubt == "lossy colours" else "many"
    seen_alpha = () if alpha is None else tuple(int(value) for value in np.unique(alpha))
    facts = Facts(
        image.size, orientation, kind, bits, values, colours, seen_alpha, hides, cut, doubt
    )
    return Look(facts, codes, alpha)


def _codes(
    image: Image.Image, form: str
) -> tuple[Literal["grey", "palette", "colour"], int, Codes, Doubt]:
    mode = image.mode
    if mode in ("P", "PA"):
        indices = image if mode == "P" else image.getchannel(0)
        return "palette", 8, np.asarray(indices), ""
    if mode == "F":
        numbers = np.asarray(image)
        whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
        whole = whole and (np.abs(numbers) < 2**31).all()
        if not whole:
            return "grey", 0, np.zeros(numbers.shape, np.int64), "fractions"
        return "grey", 0, numbers.astype(np.int64), ""
    if mode in ("1", "L", "LA", "La") or mode.startswith("I"):
        channel = image.getchannel(0) if mode in ("LA", "La") else image
        bits = 1 if mode == "1" else 8 if mode[0] == "L" else 16 if ";" in mode else 32
        values = np.asarray(channel)
        return "grey", bits, values.astype(np.uint8) if bits == 1 else values, ""
    pixels = np.asarray(image.convert("RGB") if mode not in ("RGB", "RGBA") else image)
    planes = [pixels[..., channel] for channel in range(3)]
    if np.array_equal(planes[0], planes[1]) and np.array_equal(planes[1], planes[2]):
        return "grey", 8, planes[0], ""
    red, green, blue = (plane.astype(np.int64) for plane in planes)
    if form in _LOSSY and max(np.abs(red - green).max(), np.abs(green - blue).max()) <= 16:
        return "grey", 8, np.asarray(image.convert("L")), ""
    colours = red << 16 | green << 8 | blue
    return "colour", 8, colours, "lossy colours" if form in _LOSSY else ""


def _alpha(image: Image.Image) -> NDArray[np.uint8] | None:
    """The alpha channel [H, W]; None where all is opaque."""
    if not is_transparent(image):
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if (alpha == 255).all() else alpha


def _adds_nothing(alpha: NDArray[np.uint8], codes: Codes, values: tuple[int, ...]) -> bool:
    """Whether transparent pixels are black all the same, so that the colours tell everything."""
    hidden = alpha == 0
    plain = ((alpha == 0) | (alpha == 255)).all() and not codes[hidden].any()
    return bool(plain and (hidden.all() or any(values)))


def _palette(image: Image.Image) -> list[int]:
    flat = image.getpalette("RGB") or []
    return [r << 16 | g << 8 | b for r, g, b in zip(flat[::3], flat[1::3], flat[2::3], strict=True)]


def _is_shuffled(palette: list[int], values: tuple[int, ...], colours: tuple[int, ...]) -> bool:
    """Whether the order of a palette is that of a program that counted colours, not labels.

    Such a palette holds no colour that is not used, and black, the background, need not be first.
    """
    if set(colours) <= {BLACK, WHITE} or not palette or palette[0] == BLACK:
        return False
    return BLACK in colours or len(palette) <= len(values)


def _has_two_ends(codes: Codes) -> bool:
    """Whether nearly all grey values of a lossy file lie near black and white, some near white."""
    histogram = np.bincount(codes.ravel().clip(0, 255), minlength=256)
    middle = histogram[64:192].sum() <= 0.05 * codes.size
    white = histogram[223:].any() and histogram[192:].any()
    black = histogram[:33].any() or not histogram[:128].any()
    return bool(middle and white and black)


def _distinct(codes: Codes) -> tuple[int, ...]:
    if codes.size and codes.min() >= 0 and codes.max() < 2**16:
        return tuple(int(value) for value in np.flatnonzero(np.bincount(codes.ravel())))
    return tuple(int(value) for value in np.unique(codes))
