"""The lists of COCO's JSON, every row checked: images, categories, annotations."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from cdfss_bench.errors import DataError
from cdfss_bench.plain_json import without_duplicates

from ..core.opening import MAX_PIXELS
from .coco_shapes import Fault, Size, check, is_empty, short

Id = int | str
Row = dict[str, Any]
T = TypeVar("T")

_MEND = "correct the row, or export the file again"
_TWICE = ("has an id that another row has too", "give every row an id of its own")


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of `images`.

    Attributes:
        file_name: as written.
        size: (width, height).
    """

    file_name: str
    size: Size


@dataclass(frozen=True, slots=True)
class Pair:
    """What is annotated of one category in one image, as segmentations that were checked.

    Attributes:
        objects: of single objects.
        crowds: of regions with several objects that were not told apart.
    """

    objects: list[Any] = field(default_factory=list[Any])
    crowds: list[Any] = field(default_factory=list[Any])


@dataclass
class Tables:
    """The checked content of one JSON file.

    Attributes:
        path: of the file.
        images: by id.
        categories: names by id, in the order of the ids: numbers first, then texts.
        pairs: by (image id, category id), in the order of the ids.
        total: annotations in all.
        boxes: what annotations without a segmentation are called.
        crowds: what annotations with `iscrowd` are called.
        cut: what annotations are called whose polygons reach beyond their image.
        beyond: by how many pixels at most.
    """

    path: Path
    images: dict[Id, Picture]
    categories: dict[Id, str]
    pairs: dict[tuple[Id, Id], Pair] = field(default_factory=dict[tuple[Id, Id], Pair])
    total: int = 0
    boxes: list[str] = field(default_factory=list[str])
    crowds: list[str] = field(default_factory=list[str])
    cut: list[str] = field(default_factory=list[str])
    beyond: float = 0.0


def read_tables(path: Path) -> Tables:
    """Reads the annotation file at `path`.

    Raises:
        DataError: if it is no such file, or a row is wrong; the first such row is named and all
            are counted.
    """
    page = _loaded(path)
    rows = {key: _rows(page, key, path) for key in ("categories", "images", "annotations")}
    categories = _by_id(path, "categories", rows["categories"], _category_name)
    for name, count in Counter(categories.values()).items():
        if count > 1:
            raise DataError(
                f"{path}: {count} categories are called '{name}'", hint="rename or merge them"
            )
    images = _by_id(path, "images", rows["images"], _picture)
    tables = Tables(path, images, {key: categories[key] for key in ordered(categories)})
    _add_annotations(tables, rows["annotations"])
    return tables


def ordered(ids: Iterable[Id]) -> list[Id]:
    """Ids in the order of classes and images: numbers by value, then texts by code point."""
    known = list(ids)
    numbers = sorted(key for key in known if isinstance(key, int))
    return [*numbers, *sorted(key for key in known if isinstance(key, str))]


def _loaded(path: Path) -> Row:
    try:
        page: object = json.loads(path.read_bytes(), object_pairs_hook=without_duplicates)
    except UnicodeDecodeError as error:
        raise _broken(path, "it is not UTF-8 text") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        reason = "it is empty" if path.stat().st_size == 0 else str(error) or "it is too large"
        raise _broken(path, reason) from error
    if not isinstance(page, dict):
        raise _broken(path, "it must be an object with images, annotations and categories")
    return cast("Row", page)


def _rows(page: Row, key: str, path: Path) -> list[object]:
    rows = page.get(key)
    if not isinstance(rows, list):
        raise _broken(path, f"it must hold a list '{key}'")
    return cast("list[object]", rows)


def _broken(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is no COCO-style annotation file: {why}",
        hint="export it again as COCO instances, with segmentations",
    )


class _Faults:
    """The rows of one list that are refused: the first in words, all as a number."""

    def __init__(self, path: Path, key: str, total: int):
        self._path = path
        self._key = key
        self._total = total
        self._count = 0
        self._first: tuple[str, Fault] | None = None

    def add(self, row: str, fault: Fault) -> None:
        self._first = self._first or (row, fault)
        self._count += 1

    def refuse(self) -> None:
        """Raises `DataError` if a row is refused."""
        if self._first is None:
            return
        row, fault = self._first
        others = (
            f" ({self._count} of {self._total} {self._key} are refused)" if self._count > 1 else ""
        )
        raise DataError(f"{self._path}: {row} {fault.problem}{others}", hint=fault.hint or _MEND)


def _by_id(path: Path, key: str, rows: list[object], read: Callable[[Row], T]) -> dict[Id, T]:
    """What `read` makes of each row, by the row's id."""
    faults = _Faults(path, key, len(rows))
    found: dict[Id, T] = {}
    for number, row in enumerate(rows, start=1):
        try:
            values = _as_row(row, key)
            name = _id_of(values, "id")
            if name in found:
                raise Fault(*_TWICE)
            found[name] = read(values)
        except Fault as fault:
            faults.add(_called(row, number, key), fault)
    faults.refuse()
    return found


def _called(row: object, number: int, key: str) -> str:
    """How a row is named: `image 7`, or `row 3 of 'images'` if it has no id of its own."""
    name = cast("Row", row).get("id") if isinstance(row, dict) else None
    if isinstance(name, int | str) and not isinstance(name, bool):
        single = {"categories": "category", "images": "image"}.get(key, "annotation")
        return f"{single} {name} (row {number})"
    return f"row {number} of '{key}'"


def _as_row(row: object, key: str) -> Row:
    if isinstance(row, dict):
        return cast("Row", row)
    example = '{"id": 1, "name": "cup"}' if key == "categories" else '{"id": 1, ...}'
    raise Fault(f"is {short(row)}, not an object", f"write each row like {example}")


def _id_of(row: Row, key: str) -> Id:
    value = _given(row, key)
    if isinstance(value, str):
        return _text_of(row, key)
    if isinstance(value, float) and value.is_integer():  # pandas writes 7 as 7.0
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Fault(f"has {key} {short(value)}; ids are whole numbers or texts")


def _given(row: Row, key: str) -> object:
    if key not in row:
        raise Fault(f"lacks '{key}'")
    return row[key]


def _text_of(row: Row, key: str) -> str:
    value = _given(row, key)
    if not isinstance(value, str) or not value.strip():
        raise Fault(f"has {key} {short(value)}, which is no text")
    if not value.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        raise Fault(f"has {key} {short(value)}, which holds control characters")
    return value


def _category_name(row: Row) -> str:
    return _text_of(row, "name")


def _picture(row: Row) -> Picture:
    width, height = _pixels_of(row, "width"), _pixels_of(row, "height")
    if width * height > MAX_PIXELS:
        raise Fault(f"has an impossible size, {width}x{height}")
    return Picture(_text_of(row, "file_name"), (width, height))


def _pixels_of(row: Row, key: str) -> int:
    value = _given(row, key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Fault(f"has {key} {short(value)}, which is no number of pixels")
    return value


def _is_crowd(row: Row) -> bool:
    value = row.get("iscrowd")
    if value not in (None, 0, 1):
        raise Fault(f"has iscrowd {short(value)}; it is 0 or 1")
    return bool(value)


def _add_annotations(tables: Tables, rows: list[object]) -> None:
    faults = _Faults(tables.path, "annotations", len(rows))
    ids: set[Id] = set()
    pairs: dict[tuple[Id, Id], Pair] = {}
    for number, row in enumerate(rows, start=1):
        called = _called(row, number, "annotations")
        try:
            values = _as_row(row, "annotations")
            if "id" in values:
                if (name := _id_of(values, "id")) in ids:
                    raise Fault(*_TWICE)
                ids.add(name)
            _add_annotation(tables, pairs, values, called)
        except Fault as fault:
            faults.add(called, fault)
    faults.refuse()
    tables.total = len(rows)
    place = {key: index for index, key in enumerate(ordered(tables.images))}
    rank = {key: index for index, key in enumerate(tables.categories)}
    for key in sorted(pairs, key=lambda pair: (place[pair[0]], rank[pair[1]])):
        tables.pairs[key] = pairs[key]


def _add_annotation(
    tables: Tables, pairs: dict[tuple[Id, Id], Pair], row: Row, called: str
) -> None:
    image, category = _id_of(row, "image_id"), _id_of(row, "category_id")
    if image not in tables.images:
        raise Fault(f"has image_id {image!r}, which is not among the images")
    if category not in tables.categories:
        raise Fault(f"has category_id {category!r}, which is not among the categories")
    crowd, segmentation = _is_crowd(row), row.get("segmentation")
    pair = pairs.setdefault((image, category), Pair())
    called = f"{called} of image {image}"
    if is_empty(segmentation):
        tables.boxes.append(called)
        return
    beyond = check(segmentation, tables.images[image].size)
    if beyond:
        tables.cut.append(called)
        tables.beyond = max(tables.beyond, beyond)
    if crowd:
        tables.crowds.append(called)
    (pair.crowds if crowd else pair.objects).append(segmentation)
