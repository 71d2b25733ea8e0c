"""Where the files are that COCO's JSON names, and which JSON file is meant."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from cdfss_bench.errors import DataError

from ..core.masks.pairing import folders_in, loose_pictures

_UPLOAD = re.compile(r"[0-9a-f]{4,}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""

_SHOWN = 4


class ImageFiles:
    """The files below a folder, found by the names that annotation tools write.

    A name is taken as it stands if that file is there. Otherwise leading folders, addresses,
    separators, the case of letters, the form of accents and Label Studio's prefix may differ, as
    long as exactly one file fits. A file fits if the shorter of the two paths is the end of the
    longer one; of several the one with more equal folders is taken.

    Args:
        root: the data root.
        folder: relative to it.
    """

    def __init__(self, root: Path, folder: str):
        self.folder = root / folder
        self._base = "" if folder in (".", "") else f"{Path(folder).as_posix()}/"
        self._paths = frozenset(_files_below(self.folder))
        self._by_name: dict[str, list[tuple[str, ...]]] = {}
        for path in sorted(self._paths):
            parts = tuple(path.split("/"))
            self._by_name.setdefault(_plain(parts[-1]), []).append(parts)

    def find(self, name: str) -> str | None:
        """The path of an image relative to the data root, or None where no file fits.

        Raises:
            DataError: if several files fit.
        """
        if name in self._paths:
            return self._base + name
        parts = _parts(name)
        last = parts[-1] if parts else ""
        for basename in (last, _UPLOAD.sub("", last, count=1)):
            if found := self._nearest(name, [*parts[:-1], basename]):
                return self._base + found
        return None

    def similar(self, name: str) -> str:
        """A file of the same name with another ending, as the end of a sentence; or nothing."""
        parts = _parts(name)
        stem = _plain(Path(parts[-1]).stem) if parts else ""
        others = [paths[0][-1] for key, paths in self._by_name.items() if Path(key).stem == stem]
        return f" (there is {others[0]})" if stem and others else ""

    def _nearest(self, name: str, parts: list[str]) -> str | None:
        candidates: dict[str, int] = {}
        for candidate in self._by_name.get(_plain(parts[-1]), []):
            equal = _equal_tail(parts, candidate)
            if equal in (len(parts), len(candidate)):
                candidates["/".join(candidate)] = equal
        best = max(candidates.values(), default=0)
        found = [path for path, equal in candidates.items() if equal == best]
        if len(found) > 1:
            raise DataError(
                f"several files in {self.folder} may be the image called '{name}': "
                f"{' and '.join(found[:_SHOWN])}",
                hint="write the path below that folder as file_name, or remove the other files",
            )
        return found[0] if found else None


def _files_below(folder: Path) -> Iterator[str]:
    def refuse(error: OSError) -> NoReturn:
        raise error

    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(place).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        yield from (prefix + name for name in names if not name.startswith("."))


def _parts(name: str) -> list[str]:
    """Folders and name out of a path of any system, or out of an address."""
    address = urlsplit(name) if "://" in name or "?" in name else None
    if address is not None:
        # Label Studio's local files: /data/local-files/?d=folder/name.jpg
        named = parse_qs(address.query).get("d")
        name = named[0] if named else unquote(address.path)
    elif re.search("%[0-9A-Fa-f]{2}", name):
        name = unquote(name)
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    while ".." in parts:
        parts = parts[parts.index("..") + 1 :]
    return parts


def _plain(name: str) -> str:
    """A name without what file systems and tools change: case, form of accents, spaces."""
    return unicodedata.normalize("NFC", name).casefold().replace(" ", "_")


def _equal_tail(parts: Iterable[str], candidate: Iterable[str]) -> int:
    """How many last parts of two paths are equal."""
    tails = [[_plain(part) for part in path][::-1] for path in (parts, candidate)]
    return len(list(takewhile(bool, map(eq, *tails))))


def missing_images(
    files: ImageFiles, root: Path, missing: Mapping[str, str], total: int
) -> DataError:
    """The error for images without a file.

    Args:
        files: where they were looked for.
        root: the data root.
        missing: file names by image, not empty.
        total: images in all.
    """
    image, name = next(iter(missing.items()))
    counted = f"; {len(missing)} of {total} images are missing" if len(missing) > 1 else ""
    parts = _parts(name)
    elsewhere = [
        folder.name
        for folder in folders_in(root).values()
        if parts and any(entry.name == parts[-1] for entry in folder.iterdir())
    ]
    hint = (
        f"name their folder: coco[images={elsewhere[0]}]"
        if elsewhere
        else "put the images there, or name their folder: coco[images=FOLDER]"
    )
    return DataError(
        f"{image} is called '{name}', and no file in {files.folder} fits"
        f"{files.similar(name)}{counted}",
        hint=hint,
    )


def no_annotations(root: Path, typed: str) -> DataError | None:
    """The error that names the JSON files that are there instead of `typed`, if there are any."""
    base = root / typed if (root / typed).is_dir() else root
    found = sorted(
        path
        for folder in (base, *folders_in(base).values())
        for path in folder.glob("*.json")
        if path.is_file() and not path.name.startswith(".")
    )
    if not found:
        return None
    names = [path.relative_to(root).as_posix() for path in found]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    what = "is a folder" if (root / typed).is_dir() else "is missing"
    beside = found[0].parent
    # Roboflow writes each split's file among its images.
    option = f",images={beside.relative_to(root).as_posix()}" if loose_pictures(beside) else ""
    return DataError(
        f"{root / typed} {what}; there is {', '.join(names[:_SHOWN])}{more}",
        hint=f"name the file: coco[annotations={names[0]}{option}]",
    )
