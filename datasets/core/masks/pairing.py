"""Which mask belongs to which picture, by their names; whatever has no partner is refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from cdfss_bench.errors import DataError

from ..medical_files import DICOM, VOLUMES, stem_of, suffix_of

PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif",
    ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".tga", ".mpo", ".avif", *VOLUMES, *DICOM,
)  # fmt: skip
"""Suffixes of files that are read as pictures, by their content."""

ENDINGS = (
    "", "_mask", "-mask", "_gt", "_seg", "_segmentation", "_label", "_labels", "_groundtruth",
)  # fmt: skip
"""What may stand behind a picture's name in its mask's."""

MASK_WORDS = ("mask", "label", "labels", "seg", "segmentation", "gt", "groundtruth")
"""What a mask file may be called in the folder of its image, or in place of `image` before a
number."""

_SIDECARS = (
    ".txt",
    ".csv",
    ".md",
    ".json",
    ".xml",
    ".yaml",
    ".yml",
    ".db",
    ".ini",
    ".pdf",
    ".html",
)
_LITTER = ("__MACOSX", "lost+found")


def folders_in(place: Path) -> dict[str, Path]:
    """The folders in `place` by their names in Unicode's composed form, sorted; hidden ones not.

    Raises:
        DataError: if two names differ only in their Unicode form.
    """
    if not place.is_dir():
        return {}
    found: dict[str, Path] = {}
    entries = (entry for entry in place.iterdir() if entry.is_dir() and not is_hidden(entry.name))
    for entry in sorted(entries):
        if (first := found.setdefault(composed(entry.name), entry)) != entry:
            raise DataError(
                f"{first} and {entry} have one name, in two Unicode forms",
                hint="put their files into one folder",
            )
    return dict(sorted(found.items()))


def files_in(place: Path) -> list[Path]:
    """The pictures in `place`, sorted by name; hidden files and notes beside them are passed over.

    Raises:
        DataError: for a file that is no picture, or a folder, since nothing is left out silently.
    """
    if not place.is_dir():
        return []
    found: list[Path] = []
    for entry in place.iterdir():
        if is_hidden(entry.name) or entry.suffix.lower() in _SIDECARS:
            continue
        if entry.is_dir():
            raise DataError(
                f"{entry} is a folder where pictures are expected",
                hint=f"move its files up into {place}, or the folder away",
            )
        if suffix_of(entry) not in PICTURES:
            raise DataError(
                f"{entry} is of a kind that is not read ({entry.suffix or 'no suffix'})",
                hint="save it as PNG or JPEG, or move it away",
            )
        found.append(entry)
    return sorted(found, key=lambda path: composed(path.name))


def loose_pictures(place: Path) -> list[Path]:
    """The pictures that lie in `place` itself, sorted; nothing is refused."""
    return sorted(
        entry
        for entry in (place.iterdir() if place.is_dir() else ())
        if suffix_of(entry) in PICTURES and not is_hidden(entry.name) and entry.is_file()
    )


def pairs_of(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Picture and mask of every picture in the folder `images`, in the order of their names.

    Names are compared in Unicode's composed form, so that trees that went through a Mac fit.

    Raises:
        DataError: for a picture without a mask, or with two; for a mask without a picture; for
            two pictures of one name.
    """
    by_stem: dict[str, list[Path]] = {}
    for mask in files_in(masks):
        by_stem.setdefault(composed(stem_of(mask)), []).append(mask)
    pairs: list[tuple[Path, Path]] = []
    seen: dict[str, Path] = {}
    for image in files_in(images):
        stem = composed(stem_of(image))
        if stem in seen:
            raise DataError(
                f"{image} and {seen[stem].name} would share a mask", hint="rename one of them"
            )
        seen[stem] = image
        names = _names_of_mask(image, stem)
        found = [mask for name in names for mask in by_stem.get(name, ())]
        if len(found) != 1:
            suffix = suffix_of(image) if suffix_of(image) in VOLUMES else ".png"
            raise DataError(
                f"{image} needs one mask {stem_of(image)}{suffix} in {masks}, "
                f"there is {' and '.join(mask.name for mask in found) or 'none'}",
                hint=_complete(image, found, by_stem),
            )
        pairs.append((image, found[0]))
    _refuse_lonely(pairs, by_stem, images)
    return pairs


def _names_of_mask(image: Path, stem: str) -> list[str]:
    # `a.jpg.png` is how some programs call the mask of `a.jpg`.
    names = [name + ending for name in (stem, composed(image.name)) for ending in ENDINGS]
    if suffix_of(image) in VOLUMES and (channel := re.fullmatch(r"(.+)_\d{4}", stem)):
        names.append(channel[1])  # nnU-Net numbers the channels of a scan
    if match := re.fullmatch(r"(?i:image|img|volume|scan)([-_]?\d.*)", stem):
        names += [word + match[1] for word in MASK_WORDS]
    return names


def composed(name: str) -> str:
    """A file name in Unicode's composed form (NFC); Macs write the other."""
    return unicodedata.normalize("NFC", name)


def _refuse_lonely(
    pairs: Sequence[tuple[Path, Path]], by_stem: dict[str, list[Path]], images: Path
) -> None:
    owners: dict[Path, Path] = {}
    for image, mask in pairs:
        if mask in owners:
            raise DataError(
                f"{mask} fits two pictures, {owners[mask].name} and {image.name}",
                hint="call each mask like its picture",
            )
        owners[mask] = image
    lonely = [mask for masks in by_stem.values() for mask in masks if mask not in owners]
    if lonely:
        more = f" (nor do {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise DataError(
            f"{lonely[0]} belongs to no picture in {images}{more}",
            hint="add the picture, or move the mask away",
        )


def _complete(image: Path, found: Sequence[Path], by_stem: dict[str, list[Path]]) -> str:
    alike = [m for s, masks in by_stem.items() for m in masks if s.lower() == image.stem.lower()]
    if alike and not found:
        return f"rename {alike[0].name}: its letters are large where the picture's are small"
    return "complete the folder, or remove the image"


def is_hidden(name: str) -> bool:
    """Whether a name is of a file or folder that systems leave behind."""
    return name.startswith(".") or name in _LITTER or name.lower() in ("thumbs.db", "desktop.ini")
