"""Looking at downloaded pictures, and writing lossless ones that are the same on every machine."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.opening import opened
from .sources import Entry

_BLOCK = 65535


def decoded(entry: Entry, mode: str | None = None) -> NDArray[np.uint8]:
    """The pixels of a file, converted to `mode` if one is named.

    Raises:
        DataError: if the file is damaged.
    """
    with opened(io.BytesIO(entry.read()), entry.origin) as image:
        return np.asarray(image.convert(mode) if mode else image)


def size_of(data: bytes, origin: str) -> tuple[int, int]:
    """(width, height), after every byte was decoded once.

    Raises:
        DataError: if the file is damaged.
    """
    with opened(io.BytesIO(data), origin) as image:
        size = image.size
        # A JPEG is decoded at an eighth of its size: all its bytes are read, few pixels are made.
        image.draft(None, (1, 1))
        image.load()
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
