"""Where a command writes to: what cannot be written is refused before anything is computed."""

import os
from pathlib import Path

from cdfss_bench.errors import UserError

_OF_FILES = (
    ".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".htm", ".md", ".csv", ".json", ".yaml",
    ".yml", ".zip", ".tar", ".gz", ".safetensors", ".pth", ".pt", ".txt",
)  # fmt: skip


def refuse_file(option: str, folder: Path | None) -> None:
    """Refuse a folder that is named as a file, or is one, or may not be written to.

    Raises:
        UserError: naming the option and a folder in its place.
    """
    if folder is None:
        return
    is_named_as_file = folder.suffix.lower() in _OF_FILES and not folder.is_dir()
    if folder.is_file() or is_named_as_file:
        word = "is a file" if folder.is_file() else "is named as a file"
        raise UserError(
            f"{option} {folder} {word}, and a folder is written",
            hint=f"name a folder: {option} {folder.with_suffix('') if folder.suffix else 'DIR'}",
        )
    refuse_unwritable(option, folder)


def refuse_unwritable(option: str, path: Path | None, *, appended: bool = False) -> None:
    """Refuse a file or folder that cannot be made where it is named.

    Args:
        option: by which it was named.
        path: the file or folder; pipes and devices are written to as they are.
        appended: whether a file that is there is added to; otherwise it is replaced, and it is its
            folder that must be open.

    Raises:
        UserError: naming the option and the place that may not be written to.
    """
    if path is None:
        return
    try:
        real = Path(os.path.realpath(path))
        if real.exists() and not (real.is_file() or real.is_dir()):
            return
        places = real.parents if real.is_file() and not appended else (real, *real.parents)
        place = next((each for each in places if each.exists()), real)
    except OSError:
        return  # no name that a file can have, which writing it says
    if not place.is_dir() and place != real:
        raise UserError(f"{option} {path}: {place} is a file", hint="name another place")
    if not os.access(place, os.W_OK):
        raise UserError(
            f"{option} {path}: nothing may be written in {place}", hint="name another place"
        )
