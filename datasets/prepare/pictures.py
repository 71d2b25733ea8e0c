"""Looking at downloaded pictures, and writing lossless ones that are the same on every machine."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cdfss_bench.errors import DataError

from ..core.file_domain import MAX_PIXELS
from .sources import Entry

_BLOCK = 65535


def opened(data: bytes, origin: str) -> Image.Image:
    """The picture in `data`, not decoded yet.

    Raises:
        DataError: if it is no picture, or too large to be one of ours.
    """
    try:
        image = Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise DataError(f"{origin} is not a readable image ({_reason(error)})") from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{origin} is not a readable image "
            f"({image.width}x{image.height} pixels are no picture of ours)"
        )
    return image


def decoded(entry: Entry, mode: str | None = None) -> NDArray[np.uint8]:
    """The pixels of a file, converted to `mode` if one is named.

    Raises:
        DataError: if the file is damaged.
    """
    image = opened(entry.read(), entry.origin)
    try:
        return np.asarray(image.convert(mode) if mode else image)
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise DataError(f"{entry.origin} is not a readable image ({_reason(error)})") from error


def size_of(data: bytes, origin: str) -> tuple[int, int]:
    """(width, height), after every byte was decoded once.

    Raises:
        DataError: if the file is damaged.
    """
    image = opened(data, origin)
    size = image.size
    try:
        # A JPEG is decoded at an eighth of its size: all its bytes are read, few pixels are made.
        image.draft(None, (1, 1))
        image.load()
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise DataError(f"{origin} is not a readable image ({_reason(error)})") from error
    return size


def lossless(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """A PNG of RGB pixels [H, W, 3], grey ones [H, W], or a black-and-white mask [H, W] (bool).

    Nothing is compressed: deflate's output depends on the library that does it, and with it the
    file, which the fingerprint of a data set hashes.
    """
    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    depth = 1 if pixels.dtype == np.bool_ else 8
    rows = np.packbits(pixels, axis=1) if depth == 1 else pixels.reshape(height, -1)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            _chunk(b"IDAT", _stored(raw)),
            _chunk(b"IEND", b""),
        )
    )


def jpeg_95(pixels: NDArray[np.uint8]) -> bytes:
    """RGB pixels [H, W, 3] as `cv2.imwrite` encodes them: quality 95, 4:2:0."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95, subsampling="4:2:0")
    return out.getvalue()


def _stored(raw: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    parts = [b"\x78\x01"]
    for start in range(0, len(raw), _BLOCK):
        block = raw[start : start + _BLOCK]
        last = start + _BLOCK >= len(raw)
        parts += (struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block)
    parts.append(struct.pack(">I", zlib.adler32(raw)))
    return b"".join(parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _reason(error: Exception) -> str:
    # Pillow names the memory address of the buffer, which helps nobody.
    text = str(error).partition("<_io")[0].strip()
    return text or type(error).__name__
