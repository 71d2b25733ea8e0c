"""Where the pictures and masks of own data lie: five layouts, recognised where one alone fits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdfss_bench.errors import DataError

from ..medical import scene_of
from ..medical_files import DICOM, stem_of, suffix_of
from .decoding import Say
from .pairing import (
    ENDINGS,
    MASK_WORDS,
    composed,
    files_in,
    folders_in,
    loose_pictures,
    pairs_of,
)

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr", "jpegimages", "photos")
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "labelstr", "annotations", "segmentationclass",
    "segmentations", "gt", "groundtruth", "ground_truth",
)  # fmt: skip
"""What the two folders may be called, in any letters; other names are options."""

_IMAGE_WORDS = ("image", "img", "photo", "picture", "scan", "volume")


@dataclass(frozen=True)
class Sample:
    """A picture with its masks, whose union is its truth, and the group that it belongs to."""

    image: Path
    masks: tuple[Path, ...]
    group: str = ""


@dataclass(frozen=True)
class Found:
    """Samples by the folder of their class; by "" where masks say which classes they show."""

    layout: str
    samples: Mapping[str, Sequence[Sample]]
    empty: tuple[Path, ...] = ()


def find(top: Path, layout: str, images: str, masks: str, say: Say) -> Found:
    """The samples below `top`.

    Args:
        top: the folder of the data set.
        layout: `folders`, `flat`, `groups`, `per-image`, or `auto`.
        images: name of the folder of images, or a pattern in the folder of an image; may be empty.
        masks: the same of masks.
        say: spells an option in the domain's name, for hints.

    Raises:
        DataError: if several layouts fit, or something has no partner.
    """
    patterns = any("*" in word or "?" in word for word in (images, masks))
    if layout == "per-image" or (layout == "auto" and patterns):
        return Found("per-image", {"": _per_image(top, images, masks)})
    image_place = _place(top, images, IMAGE_FOLDERS, "images", say)
    mask_place = _place(top, masks, MASK_FOLDERS, "masks", say)
    if layout == "auto":
        if image_place is None:
            samples = _per_image(top, images, masks) if _has_per_image(top, images, masks) else []
            return Found("per-image", {"": samples})
        layout = _recognised(image_place, say)
    image_place, mask_place = image_place or top / "images", mask_place or top / "masks"
    if layout == "flat":
        return Found(layout, {"": [Sample(i, (m,)) for i, m in pairs_of(image_place, mask_place)]})
    pairs, empty = _in_folders(image_place, mask_place, say)
    if layout == "folders":
        made = {name: [Sample(i, (m,)) for i, m in found] for name, found in pairs.items()}
        return Found(layout, made, empty)
    grouped = [Sample(i, (m,), name) for name, found in pairs.items() for i, m in found]
    return Found(layout, {"": grouped}, empty)


def _place(top: Path, named: str, known: Sequence[str], option: str, say: Say) -> Path | None:
    folders = folders_in(top)
    if named:
        if composed(named) not in folders:
            raise DataError(
                f"{top} holds no folder {named}",
                hint=f"name one of {', '.join(folders) or 'none'}: {say(f'{option}=NAME')}",
            )
        return folders[composed(named)]
    if known[0] in folders:
        return folders[known[0]]
    found = [path for name, path in folders.items() if name.lower() in known]
    if len(found) > 1:
        raise DataError(
            f"{top} holds several folders of {option}: {', '.join(p.name for p in found)}",
            hint=f"say which: {say(f'{option}={found[0].name}')}",
        )
    return found[0] if found else None


def _recognised(images: Path, say: Say) -> str:
    folders, loose = folders_in(images), loose_pictures(images)
    if folders and loose:
        raise _loose(loose[0], images, say)
    if not folders:
        return "flat"
    for folder in folders.values():
        slices = [path for path in loose_pictures(folder) if suffix_of(path) in DICOM][:2]
        if len(slices) == 2 and scene_of(slices[0]) and scene_of(slices[0]) == scene_of(slices[1]):
            raise DataError(
                f"{folder} holds several slices of one DICOM series, so the folders in {images} "
                "may be scans or classes",
                hint=f"say it: {say('layout=groups')} if each folder is a scan, "
                f"{say('layout=folders')} if each is a class",
            )
    return "folders"


def _loose(picture: Path, place: Path, say: Say) -> DataError:
    return DataError(
        f"{picture} lies in no class folder",
        hint=f"move it into {place.name}/CLASS, or, if all files lie in one folder, "
        f"say so: {say('layout=flat')}",
    )


Pairs = list[tuple[Path, Path]]


def _in_folders(
    image_place: Path, mask_place: Path, say: Say
) -> tuple[dict[str, Pairs], tuple[Path, ...]]:
    images, masks = folders_in(image_place), folders_in(mask_place)
    for place in (image_place, mask_place):
        if loose := loose_pictures(place):
            raise _loose(loose[0], place, say)
    for name, folder in masks.items():
        if name not in images and files_in(folder):
            raise DataError(
                f"{folder} holds masks of a class that {image_place} does not have",
                hint="give both folders one name, or move the masks away",
            )
    pairs = {
        name: pairs_of(folder, masks.get(name, mask_place / folder.name))
        for name, folder in images.items()
    }
    empty = tuple(images[name] for name, found in pairs.items() if not found)
    return {name: found for name, found in pairs.items() if found}, empty


def _has_per_image(top: Path, images: str, masks: str) -> bool:
    """Whether any folder of `top` holds an image with its mask."""
    return any(all(_sides(folder, images, masks)) for folder in folders_in(top).values())


def _per_image(top: Path, images: str, masks: str) -> list[Sample]:
    found: list[Sample] = []
    for folder in folders_in(top).values():
        image, mask = _sides(folder, images, masks)
        if len(image) != 1 or not mask:
            seen = (
                " and ".join(path.name for path in (image or loose_pictures(folder))) or "nothing"
            )
            raise DataError(
                f"{folder} needs one image and its mask, there is {seen}"
                if len(image) != 1
                else f"{folder} holds no mask of {image[0].name}",
                hint="call them image.png and mask.png, or image NAME.png and mask NAME_mask.png, "
                "or name patterns: images=*_t1.nii.gz,masks=*_seg.nii.gz",
            )
        found.append(Sample(image[0], tuple(mask)))
    return found


def _sides(folder: Path, images: str, masks: str) -> tuple[list[Path], list[Path]]:
    """What may be the image of a folder, and its masks."""
    inner = {name.lower(): path for name, path in folders_in(folder).items()}
    files = loose_pictures(folder)
    name = folder.name.lower()
    mask_stems = {*MASK_WORDS, *(name + ending for ending in ENDINGS if ending)}
    image_side = _matching(folder, images, files) if images else []
    if not images:
        image_side = _inner_files(inner, IMAGE_FOLDERS) or [
            path for path in files if stem_of(path).lower() in (*_IMAGE_WORDS, name)
        ]
    mask_side = _matching(folder, masks, files) if masks else []
    if not masks:
        mask_side = _inner_files(inner, MASK_FOLDERS) or [
            path
            for path in files
            if stem_of(path).lower() in mask_stems
            or re.fullmatch(rf"(?:{'|'.join(MASK_WORDS)})[-_]?\d+", stem_of(path).lower())
        ]
    return image_side, mask_side


def _matching(folder: Path, pattern: str, files: Sequence[Path]) -> list[Path]:
    if (folder / pattern).is_dir():
        return files_in(folder / pattern)
    return [path for path in files if path.match(pattern)]


def _inner_files(inner: Mapping[str, Path], known: Sequence[str]) -> list[Path]:
    return next((files_in(inner[name]) for name in known if name in inner), [])
