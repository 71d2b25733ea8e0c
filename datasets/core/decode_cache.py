"""Decoded pictures on disk, so that a second run decodes nothing.

One file per picture: written beside its final name and renamed, so that any number of processes
may fill the cache at once; opened as a read-only memory map; guarded by a checksum, so that a
damaged entry is decoded again instead of being believed. The key holds everything that can change
a pixel (the file's content, transform, side, decoder versions), so nothing ever goes stale, and a
tree that was moved or renamed finds its entries. The folder may be deleted at any time.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from cdfss_bench.canonical import digest

from .transforms import TRANSFORM_VERSION

_HEADER = struct.Struct("<8sI I3I 2I")
_MAGIC = b"CDFSSPX2"
_OFFSET = 64

ENTRIES = "decoded"
"""Folder of the entries. (`pixels` held entries by path and time, which nobody finds any more.)"""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A transformed picture or mask.

    Attributes:
        array: uint8; [S, S, 3] for an image, [S, S] for a mask.
        native: (width, height) of the file it came from.
    """

    array: NDArray[np.uint8]
    native: tuple[int, int]


def default_folder() -> Path:
    """`$CDFSS_CACHE`, or cdfss-bench's folder in the user's cache directory."""
    if named := os.environ.get("CDFSS_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cdfss-bench"


class DecodeCache:
    """Transformed pictures by key; without a folder, or on a full disk, it just decodes.

    Attributes:
        folder: where entries lie; None turns the cache off.
        trouble: the reason why entries are no longer written, if there is one.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.trouble: str | None = None

    def get(self, key: str, make: Callable[[], Pixels]) -> Pixels:
        """The entry of `key`, made (and kept) by `make` where it is missing or damaged."""
        if self.folder is None:
            return make()
        path = self.folder / ENTRIES / key[:2] / f"{key}.px"
        found = _read(path)
        if found is not None:
            return found
        pixels = make()
        if self.trouble is None:
            try:
                _write(path, pixels)
            except OSError as error:
                # A cache that cannot be written costs time, not results.
                self.trouble = f"the decode cache {self.folder} is not written: {error.strerror}"
        return pixels


def picture_key(sha256: str, *, kind: str, side: int) -> str:
    """The key of a file's transformed picture.

    Args:
        sha256: of the file's bytes.
        kind: what is made of them.
        side: in pixels, of the result.
    """
    return digest(
        {
            "content": sha256,
            "kind": kind,
            "side": side,
            "transform": TRANSFORM_VERSION,
            "decoder": decoder_versions(),
        }
    )


def decoder_versions() -> dict[str, str]:
    """Versions of what turns files into pixels; another JPEG library may give other pixels."""
    return {
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version("libjpeg_turbo") or "none",
        "zlib": features.version("zlib") or "none",
    }


def _read(path: Path) -> Pixels | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
        magic, checksum, *fields = _HEADER.unpack(head)
        ndim, *rest = fields
        shape, native = tuple(rest[:3])[:ndim], (rest[3], rest[4])
        if magic != _MAGIC or path.stat().st_size != _OFFSET + int(np.prod(shape)):
            return None
        array = np.memmap(path, dtype=np.uint8, mode="r", offset=_OFFSET, shape=shape)
    except (OSError, struct.error, ValueError):
        return None
    if _checksum(array, fields) != checksum:
        return None
    return Pixels(array, native)


def _checksum(array: NDArray[np.uint8], fields: Sequence[int]) -> int:
    return zlib.crc32(array.data, zlib.crc32(repr(tuple(fields)).encode()))


def _write(path: Path, pixels: Pixels) -> None:
    array = np.ascontiguousarray(pixels.array)
    fields = (array.ndim, *(*array.shape, 0, 0)[:3], *pixels.native)
    head = _HEADER.pack(_MAGIC, _checksum(array, fields), *fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(head.ljust(_OFFSET, b"\0"))
            file.write(array.tobytes())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
