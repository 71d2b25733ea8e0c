"""What all pictures and masks of own data are, found out once and then remembered.

A mask's meaning is decided for its whole class, so every mask is decoded before the first is
believed. What was found is kept beside the decode cache: a second start opens changed files only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import PIL
from pydantic import TypeAdapter, ValidationError

from cdfss_bench.canonical import digest
from cdfss_bench.errors import DataError, UserError
from cdfss_bench.files import write_atomically

from ..content_index import Signature, signature_of
from ..upright import Header, header_of
from .facts import Facts, Look, look_at

T = TypeVar("T")

_VERSION = 1
"""Bump when `Facts` or `Header` change."""


@dataclass(frozen=True)
class Survey:
    """What was found: headers of pictures and facts of masks, by path."""

    pictures: Mapping[Path, Header]
    masks: Mapping[Path, Facts]


def survey(
    pairs: Sequence[tuple[Path, Path]],
    place: Path,
    kept_in: Path | None,
    *,
    header_of: Callable[[Path], Header] = header_of,
    look_at: Callable[[Path], Look] = look_at,
    file_of: Callable[[Path], Path] = Path,
) -> Survey:
    """Looks at every picture's header and decodes every mask, as far as that is not known.

    Args:
        pairs: pictures and masks.
        place: the folder of the data set.
        kept_in: folder where findings are kept; None keeps nothing.
        header_of: reads a picture's header.
        look_at: decodes a mask.
        file_of: the file that a picture or mask lies in.

    Raises:
        DataError: naming the first file that cannot be read.
    """
    images = list(dict.fromkeys(image for image, _ in pairs))
    masks = list(dict.fromkeys(mask for _, mask in pairs))
    path = None if kept_in is None else kept_in / "masks" / f"{_name_of(place)}.json"
    before = _read(path)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stamps = {file: _stamp(file) for file in dict.fromkeys(map(file_of, (*images, *masks)))}

        def found(
            paths: list[Path], known: dict[str, tuple[Signature, T]], find: Callable[[Path], T]
        ) -> dict[str, tuple[Signature, T]]:
            def one(path: Path) -> tuple[Signature, T]:
                stamp, kept = stamps[file_of(path)], known.get(str(path))
                return kept if kept is not None and kept[0] == stamp else (stamp, find(path))

            return dict(zip(map(str, paths), pool.map(one, paths), strict=True))

        now = _Kept(
            found(images, before.pictures, header_of),
            found(masks, before.masks, lambda mask: look_at(mask).facts),
        )
    if path is not None and now != before:
        # An index that cannot be written costs time, not results.
        with suppress(OSError, UserError):
            write_atomically(path, _KEPT.dump_json(now))
    return Survey(
        {image: now.pictures[str(image)][1] for image in images},
        {mask: now.masks[str(mask)][1] for mask in masks},
    )


@dataclass(frozen=True)
class _Kept:
    """Findings by path, each with the signature of the file that it was found of."""

    pictures: dict[str, tuple[Signature, Header]]
    masks: dict[str, tuple[Signature, Facts]]


_KEPT = TypeAdapter(_Kept)


def _stamp(path: Path) -> Signature:
    try:
        return signature_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


def _name_of(place: Path) -> str:
    return digest([_VERSION, PIL.__version__, str(place.absolute())])


def _read(path: Path | None) -> _Kept:
    try:
        return _Kept({}, {}) if path is None else _KEPT.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return _Kept({}, {})
