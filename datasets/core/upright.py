"""A user's picture as a viewer shows it: turned by its EXIF orientation, 8 bits of RGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from cdfss_bench.errors import DataError

from .opening import opened
from .transforms import eight_bits


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself, without its pixels being decoded.

    Attributes:
        size: (width, height) as stored.
        orientation: of EXIF, 1 to 8; 1 is upright.
        transparent: whether it has an alpha channel or a transparent colour.
    """

    size: tuple[int, int]
    orientation: int
    transparent: bool

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) as a viewer shows it."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)


@contextmanager
def opened_picture(path: Path) -> Generator[Image.Image]:
    """The picture at `path`, opened but not decoded; what goes wrong inside is a `DataError`.

    Raises:
        DataError: if the file is missing, damaged, no picture, too large, or holds several frames.
    """
    try:
        with opened(path, path, "replace the file, or remove it with its partner") as image:
            _refuse_frames(image, path)
            yield image
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", hint="complete the data") from error


def header_of(path: Path) -> Header:
    """The header of the picture at `path`.

    Raises:
        DataError: as `opened_picture`.
    """
    with opened_picture(path) as image:
        return Header(image.size, orientation_of(image), is_transparent(image))


def read_upright(path: Path) -> Image.Image:
    """The picture at `path` in RGB of 8 bits, turned by its EXIF orientation.

    More than 8 bits are scaled. Transparent pixels are laid on white. CMYK is converted by its
    colour profile where the file has one.

    Raises:
        DataError: as `opened_picture`.
    """
    with opened_picture(path) as image:
        turned = ImageOps.exif_transpose(image)
        turned.info = dict(image.info)
        if is_transparent(turned):
            shown = turned.convert("RGBA")
            white = Image.new("RGBA", shown.size, "white")
            return Image.alpha_composite(white, shown).convert("RGB")
        if turned.mode == "CMYK":
            return _from_cmyk(turned)
        return eight_bits(turned).convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an opened picture; 1 where it says nothing sensible."""
    if image.format == "PNG" and not _says_something_late(image):
        # Pillow decodes the whole PNG in search of EXIF behind the pixels.
        exif = Image.Image.getexif(image)
    else:
        exif = image.getexif()
    value = exif.get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def is_transparent(image: Image.Image) -> bool:
    """Whether a picture has an alpha channel, or names a transparent colour."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
        "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    )


def turned(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """`array` [H, W] turned as EXIF's `orientation` asks."""
    quarter = {5: 0, 6: 3, 7: 2, 8: 1}.get(orientation)
    if quarter is None:
        rows = -1 if orientation in (3, 4) else 1
        columns = -1 if orientation in (2, 3) else 1
        return array[::rows, ::columns]
    return np.rot90(array, quarter).T if orientation in (5, 7) else np.rot90(array, quarter)


def _refuse_frames(image: Image.Image, path: Path) -> None:
    # A telephone's MPO holds the photograph first, then its depth or its small copy.
    frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise DataError(
            f"{path} holds {frames} pictures ({image.format}), an animation or several pages",
            hint="save the one that is meant as a PNG or JPEG of its own",
        )


def _says_something_late(image: Image.Image) -> bool:
    """Whether a PNG has chunks of text or EXIF behind its pixels."""
    file: IO[bytes] | None = getattr(image, "fp", None)
    if file is None:
        return True
    place = file.tell()
    try:
        file.seek(8)
        behind = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IDAT":
                behind = True
            elif behind:
                return kind != b"IEND"
            file.seek(length + 4, io.SEEK_CUR)
        return True
    finally:
        file.seek(place)


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    from PIL import ImageCms

    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except ImageCms.PyCMSError as error:
        raise ValueError(f"its colour profile cannot be used: {error}") from error
    assert converted is not None  # not in place
    return converted
