"""COCO-style annotations: one JSON file of polygons or run lengths, one folder of images."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cdfss_bench.canonical import canonical_json, digest
from cdfss_bench.errors import DataError

from .cache import Pixels
from .domain import DomainClass, Item
from .files import MAX_PIXELS
from .own import OwnDomain
from .transforms import resized_labels

_DRAWING = 1
"""Bump when a drawn mask changes."""

Row = dict[str, Any]


class CocoDomain(OwnDomain):
    """`annotations.json` with `images`, `annotations`, `categories`, beside a folder `images/`.

    An item is an (image, category) pair; its mask is the union of the pair's annotations. Polygons
    are filled with their outline (Pillow's rule), run lengths may be plain or packed. Annotations
    of crowds (`iscrowd`) are left out. Every pair is asked once.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The categories that have annotations, in the order of their ids.

        Raises:
            DataError: if the file is no such list, or names an image outside its folder.
        """
        names = {int(row["id"]): str(row["name"]) for row in self._rows("categories")}
        items: dict[int, list[Item]] = {}
        for image_id, category in sorted(self._pairs):
            if category not in names:
                raise self._broken(f"category {category} of image {image_id} is not listed")
            path = self._path(image_id)
            mask = f"{self._file}#{image_id}/{category}"
            items.setdefault(category, []).append(Item(path, path, mask, None))
        return [
            DomainClass(self.card.first_class_id + place, names[category], tuple(items[category]))
            for place, category in enumerate(sorted(items))
        ]

    def read_labels(self, item: Item) -> Pixels:
        """The union of an item's annotations, [S, S] of 0 and 1.

        Raises:
            DataError: if an annotation is no polygon or run length of the image's size.
        """
        image_id, category = map(int, item.mask.rpartition("#")[2].split("/"))
        row, side = self._images[image_id], self.card.image_size
        size = int(row["width"]), int(row["height"])
        shapes = [part["segmentation"] for part in self._pairs[image_id, category]]

        def draw() -> Pixels:
            try:
                return Pixels(resized_labels(_drawn(shapes, size), side), size)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise self._broken(
                    f"a segmentation of image {image_id} cannot be drawn ({error})"
                ) from error

        key = {"shapes": digest(shapes), "size": size, "side": side, "drawing": _DRAWING}
        return self.cache.get(digest(key), draw)

    def grey_values(self, item: Item) -> int:
        """A drawn mask has none."""
        del item
        return 0

    def file_sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of images; for a mask, a checksum of its annotations."""
        masks = {path for path in paths if path.startswith(f"{self._file}#")}
        sizes = super().file_sizes(set(paths) - masks)
        for path in masks:
            image_id, category = map(int, path.rpartition("#")[2].split("/"))
            shapes = [part["segmentation"] for part in self._pairs[image_id, category]]
            sizes[path] = zlib.crc32(canonical_json(shapes).encode())
        return sizes

    @property
    def _file(self) -> str:
        return str(self.options["annotations"])

    @cached_property
    def _json(self) -> Row:
        path = self.root / self._file
        if not path.is_file():
            raise self.nothing_found()
        try:
            loaded: object = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise self._broken(str(error)) from error
        if not isinstance(loaded, dict):
            raise self._broken("it must hold images, annotations and categories")
        return cast("Row", loaded)

    def _rows(self, key: str) -> list[Row]:
        rows = self._json.get(key)
        if not isinstance(rows, list):
            raise self._broken(f"it must hold a list '{key}'")
        return cast("list[Row]", rows)

    @cached_property
    def _images(self) -> dict[int, Row]:
        try:
            rows = {int(row["id"]): row for row in self._rows("images")}
            for row in rows.values():
                if not 0 < int(row["width"]) * int(row["height"]) <= MAX_PIXELS:
                    raise self._broken(f"image {row['id']} has an impossible size")
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken(f"a row of 'images' lacks {error}") from error
        return rows

    @cached_property
    def _pairs(self) -> dict[tuple[int, int], list[Row]]:
        pairs: dict[tuple[int, int], list[Row]] = {}
        crowds = 0
        try:
            for row in self._rows("annotations"):
                if row.get("iscrowd"):
                    crowds += 1
                    continue
                pair = int(row["image_id"]), int(row["category_id"])
                if pair[0] not in self._images:
                    raise self._broken(f"image {pair[0]} of an annotation is not listed")
                if row["segmentation"]:
                    pairs.setdefault(pair, []).append(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._broken(f"a row of 'annotations' lacks {error}") from error
        if crowds:
            self.notes[f"{crowds} annotations of crowds are left out"] = None
        return pairs

    def _path(self, image_id: int) -> str:
        name = str(self._images[image_id].get("file_name", ""))
        inside = PurePosixPath(name)
        if not name or inside.is_absolute() or ".." in inside.parts or "\\" in name:
            raise self._broken(f"image {image_id} is called {name!r}")
        return f"{self.options['images']}/{name}"

    def _broken(self, why: str) -> DataError:
        return DataError(
            f"{self.root / self._file} is no COCO-style annotation file: {why}",
            mend="export it again, with segmentations",
        )


def _drawn(shapes: Sequence[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The union of polygons and run lengths on [height, width]."""
    canvas = Image.new("L", size)
    pen = ImageDraw.Draw(canvas)
    runs = np.zeros((size[1], size[0]), np.uint8)
    for shape in shapes:
        if isinstance(shape, dict):
            runs |= _run_lengths(cast("Row", shape), size)
            continue
        for polygon in shape:
            points = [float(value) for value in polygon]
            if len(points) < 6 or len(points) % 2:
                raise ValueError(f"a polygon of {len(points)} numbers")
            pen.polygon(points, fill=1, outline=1)
    return np.asarray(canvas) | runs


def _run_lengths(shape: Row, size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = (int(value) for value in shape["size"])
    if (width, height) != size:
        raise ValueError(f"run lengths of {width}x{height} for an image of {size[0]}x{size[1]}")
    counts = shape["counts"]
    lengths = _unpacked(counts) if isinstance(counts, str) else [int(c) for c in counts]
    if min(lengths, default=0) < 0 or sum(lengths) != width * height:
        raise ValueError("run lengths that do not cover the image")
    values = np.arange(len(lengths)) % 2
    # COCO counts down the columns.
    return np.repeat(values, lengths).astype(np.uint8).reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    """COCO's packed run lengths: 5 bits a character, differences to the last but one."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError("packed run lengths with strange characters")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
