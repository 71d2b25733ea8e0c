"""COCO-style annotations: one JSON file of polygons or run lengths, one folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cdfss_bench.canonical import digest
from cdfss_bench.errors import DataError

from ..core.decode_cache import Pixels
from ..core.domain import DomainClass, Item
from ..core.own_domain import OwnDomain
from ..core.transforms import TRANSFORM_VERSION, resized_labels
from ..core.upright import header_of
from .coco_paths import ImageFiles, missing_images, no_annotations
from .coco_shapes import Size, drawing_library, drawing_version, drawn
from .coco_tables import Id, Pair, Tables, read_tables

_DRAWING = 2
"""Bump when a drawn mask changes."""

_UNDECIDED = 255


class CocoDomain(OwnDomain):
    """`annotations.json` with `images`, `annotations`, `categories`, beside a folder `images/`.

    An item is an (image, category) pair; its mask is the union of the pair's annotations, drawn by
    pycocotools. Pixels of a crowd (`iscrowd`) of the category are undecided, unless an object
    covers them. Objects with a box alone belong to the background and are counted in `notes`.
    Every pair with an object is asked once.

    Raises:
        DataError: if pycocotools is not installed.
    """

    def __init__(self, *given: Any):
        super().__init__(*given)
        drawing_library()

    def discover(self) -> Sequence[DomainClass]:
        """The categories that have objects, in the order of their ids.

        Raises:
            DataError: if a row of the file is wrong, an image is missing or of another size, or no
                annotation of a category has a segmentation.
        """
        tables, paths = self._tables, self._paths
        items: dict[Id, list[Item]] = {}
        for image, category in self._pairs:
            mask = self._mask_of(image, category)
            items.setdefault(category, []).append(Item(paths[image], paths[image], mask, 1))
        for category in dict.fromkeys(category for _, category in tables.pairs):
            if category not in items:
                raise DataError(
                    f"{tables.path}: no annotation of category '{tables.categories[category]}' is "
                    "an object with a segmentation (only boxes or crowds)",
                    hint="export segmentations; if its masks are marked as crowds, read them with "
                    "coco[crowds=objects]; or remove the category",
                )
        self._note()
        named = [(name, items[key]) for key, name in tables.categories.items() if key in items]
        return [
            DomainClass(self.card.first_class_id + place, name, tuple(found))
            for place, (name, found) in enumerate(named)
        ]

    @property
    def void_label(self) -> int | None:
        """The label of crowds, where the file has any that are undecided."""
        return _UNDECIDED if self._has_crowds else None

    def read_labels(self, item: Item) -> Pixels:
        """The labels of an item, [S, S]: 1 for objects, 255 for crowds, 0 elsewhere."""
        image, category = self._by_mask[item.mask]
        pair, size = self._pairs[image, category], self._tables.images[image].size
        side = self.card.image_size

        def draw() -> Pixels:
            objects = drawn(pair.objects, size)
            labels = objects.astype(np.uint8)
            labels[drawn(pair.crowds, size) & ~objects] = _UNDECIDED
            return Pixels(resized_labels(labels, side), size)

        key = {
            "objects": pair.objects,
            "crowds": pair.crowds,
            "size": size,
            "side": side,
            "transform": TRANSFORM_VERSION,
            "drawing": [_DRAWING, drawing_version()],
        }
        return self.cache.get(digest(key), draw)

    def extra_files(self) -> Sequence[Path]:
        """The annotation file."""
        return (self.root / self._file,)

    def item_files(self, item: Item) -> Sequence[str]:
        """The image; masks are drawn from the annotation file."""
        return (item.image,)

    @property
    def _file(self) -> str:
        return str(self.options["annotations"])

    def _mask_of(self, image: Id, category: Id) -> str:
        return f"{self._file}#{image!r}/{category!r}"

    @cached_property
    def _tables(self) -> Tables:
        path = self.root / self._file
        if not path.is_file():
            raise no_annotations(self.root, self._file) or self.nothing_found()
        return read_tables(path)

    @cached_property
    def _pairs(self) -> dict[tuple[Id, Id], Pair]:
        """The pairs with an object, as the option `crowds` has it."""
        pairs = self._tables.pairs
        if self.options["crowds"] == "objects":
            pairs = {key: Pair([*pair.objects, *pair.crowds]) for key, pair in pairs.items()}
        return {key: pair for key, pair in pairs.items() if pair.objects}

    @cached_property
    def _has_crowds(self) -> bool:
        return any(pair.crowds for pair in self._pairs.values())

    @cached_property
    def _by_mask(self) -> dict[str, tuple[Id, Id]]:
        return {self._mask_of(*pair): pair for pair in self._pairs}

    @cached_property
    def _paths(self) -> dict[Id, str]:
        """The file of each image that is asked, relative to the root; sizes are compared."""
        images = self._tables.images
        asked = list(dict.fromkeys(image for image, _ in self._pairs))
        files = ImageFiles(self.root, self._image_folder)
        found: dict[Id, str] = {}
        owners: dict[str, Id] = {}
        missing: dict[str, str] = {}
        for image in asked:
            path = files.find(images[image].file_name)
            if path is None:
                missing[f"{self._tables.path}: image {image}"] = images[image].file_name
                continue
            if path in owners:
                raise DataError(
                    f"{self._tables.path}: images {owners[path]} and {image} are the same file, "
                    f"{self.root / path}",
                    hint="give both the same image id, or name another file",
                )
            owners[path], found[image] = image, path
        if missing:
            raise missing_images(files, self.root, missing, len(asked))
        self._compare_sizes(found)
        return found

    @property
    def _image_folder(self) -> str:
        folder = str(self.options["images"])
        if (self.root / folder).is_dir():
            return folder
        beside = Path(self._file).parent
        if folder != self.card.options["images"].default or beside.is_absolute():
            raise DataError(
                f"the folder of images {self.root / folder} is missing",
                hint="name the right one: coco[images=FOLDER]",
            )
        return beside.as_posix()

    def _compare_sizes(self, paths: Mapping[Id, str]) -> None:
        """Refuses images whose width and height are not those of their file, shown upright."""
        images = self._tables.images
        found = {image: _sizes(self.root / path) for image, path in paths.items()}
        wrong = {
            image: sizes
            for image, sizes in found.items()
            if sizes is not None and sizes[1] != images[image].size
        }
        if not wrong:
            return
        image, (stored, shown) = next(iter(wrong.items()))
        width, height = images[image].size
        others = f" ({len(wrong)} of {len(paths)} images are refused)" if len(wrong) > 1 else ""
        turned, hint = "", "export the annotations again for these files, or use the original files"
        if (width, height) == stored:
            turned = " when it is turned upright as its EXIF orientation says"
            hint = (
                "export the annotations for the upright picture, or remove the orientation from "
                "the file's EXIF data"
            )
        elif (height, width) == shown:
            hint = "exchange width and height in the rows of 'images', or export again"
        raise DataError(
            f"{self._tables.path}: image {image} is {width}x{height}, but "
            f"{self.root / paths[image]} is {shown[0]}x{shown[1]}{turned}{others}",
            hint=hint,
        )

    def _note(self) -> None:
        """Counts in `notes` what is not an object, and what was cut."""
        tables, total = self._tables, self._tables.total
        counted: list[str] = []
        if boxes := tables.boxes:
            counted.append(
                f"{len(boxes)} of {total} annotations have no segmentation (a box at most) and are "
                f"left out: their objects count as background (the first is {boxes[0]})"
            )
        if crowds := tables.crowds:
            kind = "objects" if self.options["crowds"] == "objects" else "undecided pixels"
            counted.append(
                f"{len(crowds)} of {total} annotations are crowds and read as {kind} (the first is "
                f"{crowds[0]})"
            )
        if counted:
            self.note(f"{self._file}: {'; '.join(counted)}")
        if cut := tables.cut:
            self.note(
                f"{self._file}: {len(cut)} of {total} annotations reach beyond their image, by "
                f"{tables.beyond:.4g} pixels at most, and are cut at its edge (the first is "
                f"{cut[0]})"
            )


def _sizes(path: Path) -> tuple[Size, Size] | None:
    """(width, height) of a picture as stored and as shown; None where it cannot be read."""
    try:
        header = header_of(path)
    except DataError:
        return None  # whoever reads the picture says what is wrong with it
    return header.size, header.upright
