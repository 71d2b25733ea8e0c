"""Opening pictures: whatever is wrong with a file becomes one sentence."""

from __future__ import annotations

import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from cdfss_bench.errors import DataError

MAX_PIXELS = 150_000_000
"""ISIC's largest image has 27 million pixels; beyond this a file is a bomb, not a picture."""

_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    NotImplementedError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
)
"""What Pillow raises for a file that is no picture, or a damaged one."""


@contextmanager
def opened(
    file: Path | IO[bytes], called: object, hint: str | None = None
) -> Generator[Image.Image]:
    """A picture, opened but not decoded; what goes wrong inside is a `DataError`.

    Args:
        file: the path, or a stream of its bytes.
        called: how errors name it.
        hint: of the error for a file that is damaged, no picture or too large.

    Raises:
        DataError: as `hint` says; if the path is no regular file.
        FileNotFoundError: if there is none.
    """
    try:
        if isinstance(file, Path):
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(
                    f"{called} cannot be read (it is no regular file)",
                    hint="replace it by a picture",
                )
            if status.st_size == 0:
                raise ValueError("the file is empty")
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are no picture of ours")
            yield image
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise DataError(
            f"{called} is not a readable image ({_reason(error)})", hint=hint
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is no picture"
    # Pillow names the memory address of the buffer, or the path that stands before it.
    return str(error).partition("<_io")[0].strip() or type(error).__name__
