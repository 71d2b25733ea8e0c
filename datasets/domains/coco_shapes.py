"""Segmentations of COCO's JSON: what is wrong with one, and its pixels by pycocotools."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.metadata import version
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

Size = tuple[int, int]
"""(width, height) in pixels."""

_BEYOND = 0.1
_BEYOND_PIXELS = 2
"""How far a polygon may reach beyond its image: a tenth of the side, and at least two pixels."""

_LONGEST_NUMBER = 6
"""Characters of one number in a packed run length; five bits each, so 2**29 pixels."""


class Fault(ValueError):
    """What is wrong with a row, as the end of a sentence that begins with the row's name.

    Attributes:
        problem: the end of the sentence.
        hint: what to do about it; None for the general advice.
    """

    def __init__(self, problem: str, hint: str | None = None):
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


def short(value: object) -> str:
    """A value of a row as it is quoted in a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def drawing_library() -> ModuleType:
    """`pycocotools.mask`, imported when the first COCO domain is opened.

    Raises:
        DataError: if the extra `coco` is not installed, or does not fit the installed NumPy.
    """
    try:
        from pycocotools import mask
    # A wheel built for another NumPy fails with a ValueError.
    except (ImportError, ValueError) as error:
        raise DataError(
            "COCO-style segmentations (polygons and run lengths) are drawn by pycocotools, "
            f"which cannot be imported ({error})",
            hint="pip install 'cdfss-bench[coco]'",
        ) from error
    return mask


def drawing_version() -> str:
    """The version of pycocotools, which belongs to the identity of a drawn mask."""
    return version("pycocotools")


def is_empty(segmentation: object) -> bool:
    """Whether an annotation has no segmentation: none, an empty list, or a list of empty lists."""
    if isinstance(segmentation, list):
        return not any(cast("list[object]", segmentation))
    return segmentation is None or segmentation in ("", {})


def check(segmentation: object, size: Size) -> float:
    """Checks one segmentation that is not empty.

    Args:
        segmentation: a list of polygons [x1, y1, x2, y2, ...] or run lengths {size, counts}.
        size: of the image.

    Returns:
        By how many pixels it reaches beyond the image; 0 if it lies inside.

    Raises:
        Fault: if it cannot be drawn on such an image.
    """
    if isinstance(segmentation, dict):
        _check_run_lengths(cast("dict[str, Any]", segmentation), size)
        return 0.0
    if not isinstance(segmentation, list):
        raise Fault(f"has {short(segmentation)} instead of polygons or run lengths")
    beyond, largest = 0.0, 0.0
    for polygon in cast("list[object]", segmentation):
        low, high = _check_polygon(polygon)
        for first, last, side in zip(low, high, size, strict=True):
            outside = max(-first, last - side, 0)
            if outside > max(_BEYOND * side, _BEYOND_PIXELS):
                raise Fault(
                    f"has a polygon that reaches {outside:.6g} pixels beyond its image of "
                    f"{size[0]}x{size[1]}",
                    "export polygons in pixels of these images, or clip them to the image",
                )
            beyond, largest = max(beyond, outside), max(largest, abs(first), last)
    if largest <= 1:
        raise Fault(
            f"has polygons within 0 to 1 on an image of {size[0]}x{size[1]}: they are shares of "
            "its sides, not pixels",
            "multiply x by the width and y by the height, or export in pixels",
        )
    return beyond


def _check_polygon(polygon: object) -> tuple[tuple[float, float], tuple[float, float]]:
    """The least and the greatest (x, y) of a polygon."""
    if not isinstance(polygon, list):
        raise Fault(
            f"has {short(polygon)} where a polygon should be",
            "write polygons as lists in a list: [[x1, y1, x2, y2, x3, y3], ...]",
        )
    points = cast("list[float]", polygon)
    kinds: set[type] = set(map(type, points))
    if not kinds <= {int, float}:
        odd = next(value for value in points if type(value) not in (int, float))
        raise Fault(
            f"has a polygon with {short(odd)} among its coordinates",
            "write a polygon as one list of numbers: [x1, y1, x2, y2, x3, y3]",
        )
    if len(points) < 6 or len(points) % 2:
        raise Fault(
            f"has a polygon of {len(points)} numbers; it takes x and y of three points or more",
            "remove that polygon, or draw it again",
        )
    try:
        finite = math.isfinite(sum(points))
    except OverflowError:
        finite = False
    if not finite:
        raise Fault(
            "has a polygon whose coordinates are not finite",
            "remove that polygon, or draw it again",
        )
    across, down = points[0::2], points[1::2]
    return (min(across), min(down)), (max(across), max(down))


def _check_run_lengths(shape: dict[str, Any], size: Size) -> None:
    """Checks run lengths, which pycocotools takes as they are, whatever they add up to."""
    width, height = size
    if missing := [key for key in ("size", "counts") if key not in shape]:
        raise Fault(f"has run lengths without '{missing[0]}'")
    if shape["size"] != [height, width]:
        order = "; COCO writes [height, width]" if shape["size"] == [width, height] else ""
        found = short(shape["size"])
        raise Fault(f"has run lengths of size {found}, its image is [{height}, {width}]{order}")
    counts = shape["counts"]
    if isinstance(counts, str):
        lengths = _unpacked(counts)
        least, total = int(lengths.min()), int(lengths.sum())
    elif isinstance(counts, list) and set(map(type, cast("list[object]", counts))) <= {int}:
        least, total = min(cast("list[int]", counts), default=0), sum(cast("list[int]", counts))
    else:
        raise Fault("has run lengths whose counts are neither text nor a list of whole numbers")
    if least < 0:
        raise Fault("has a negative run length")
    if total != width * height:
        raise Fault(f"has run lengths of {total} pixels, its image has {width}x{height}")


def _unpacked(text: str) -> NDArray[np.int64]:
    """The run lengths of a packed text, for their sum: pycocotools does not look at it.

    Five bits a character and a mark that more follow; from the fourth number on each is the
    difference to the last but one.
    """
    codes = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] > 31:
        raise Fault("has packed run lengths with characters that COCO does not write")
    ends = np.flatnonzero(codes < 32)
    starts = np.concatenate(([0], ends[:-1] + 1))
    spans = ends - starts + 1
    if spans.max() > _LONGEST_NUMBER:
        raise Fault("has packed run lengths with a number that is too large for an image")
    place = np.arange(len(codes)) - np.repeat(starts, spans)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[ends] & 16, 1 << (5 * spans), 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values


def drawn(segmentations: Iterable[Any], size: Size) -> NDArray[np.bool_]:
    """The union of checked segmentations, [height, width], as `COCO.annToMask` draws each."""
    masks = drawing_library()
    width, height = size
    union = np.zeros((height, width), np.bool_)
    for shape in segmentations:
        if isinstance(shape, list):
            packed = masks.merge(masks.frPyObjects(shape, height, width))
        else:
            packed = {"size": [height, width], "counts": shape["counts"]}
            if isinstance(shape["counts"], list):
                packed = masks.frPyObjects(packed, height, width)
        union |= masks.decode(packed).astype(np.bool_)
    return union
