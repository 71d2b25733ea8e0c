"""Domains that lie on disk: listing as the published loaders list, reading with clear errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cdfss_bench.errors import DataError

from .cache import Pixels, file_key
from .domain import Domain, Item
from .transforms import binary_mask, resized_image, resized_labels

T = TypeVar("T")

MAX_PIXELS = 150_000_000
"""ISIC's largest image has 27 million pixels; beyond this a file is a bomb, not a picture."""


def listed(folder: Path, extension: str) -> list[str]:
    """File names in `folder` by the published rule, sorted by code point.

    The rule (PATNet `data/{deepglobe,isic,lung}.py`): the part after the FIRST dot must be the
    extension, case-sensitive; dot-files are skipped. Unlike `glob`, brackets in the path are
    harmless, and names without a dot are skipped instead of crashing the loader.
    """
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name.split(".")[1:2] == [extension]
    )


class FileDomain(Domain):
    """A domain whose images and masks are files under the data root."""

    def read_image(self, path: str) -> Pixels:
        """The picture at `path` (relative to the root), uint8 [S, S, 3].

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        side = self.card.image_size

        def decode() -> Pixels:
            return self.opened(path, lambda image: resized_image(image, side))

        return self.cached(path, "image", decode)

    def read_labels(self, item: Item) -> Pixels:
        """The mask of `item`, [S, S]: 0/1, or label values where `item.label` is set.

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        side = self.card.image_size
        binary = item.label is None

        def decode() -> Pixels:
            to_array = binary_mask if binary else _label_map
            return self.opened(item.mask, lambda image: resized_labels(to_array(image), side))

        return self.cached(item.mask, "binary" if binary else "labels", decode)

    def grey_values(self, item: Item) -> int:
        """How many values other than black and white a mask file holds.

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        found = 0

        def count(image: Image.Image) -> NDArray[np.uint8]:
            nonlocal found
            histogram = image.convert("L").histogram()
            found = sum(amount > 0 for amount in histogram[1:255])
            return np.zeros((1, 1), np.uint8)

        self.opened(item.mask, count)
        return found

    def file_sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each file.

        Raises:
            DataError: naming the first file that is not there.
        """
        sizes: dict[str, int] = {}
        for path in sorted(set(paths)):
            try:
                sizes[path] = (self.root / path).stat().st_size
            except OSError as error:
                raise self._missing(path, error) from error
        return sizes

    def cached(self, path: str, kind: str, decode: Callable[[], Pixels]) -> Pixels:
        """What `decode` makes of the file at `path`, or what it made of it before.

        Raises:
            DataError: if the file is missing.
        """
        try:
            key = file_key(self.root / path, kind=kind, side=self.card.image_size)
        except OSError as error:
            raise self._missing(path, error) from error
        return self.cache.get(key, decode)

    def opened(self, path: str, use: Callable[[Image.Image], NDArray[np.uint8]]) -> Pixels:
        """What `use` makes of the picture at `path`.

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        full = self.root / path
        try:
            with Image.open(full) as image:
                native = image.size
                if native[0] * native[1] > MAX_PIXELS:
                    raise ValueError(f"{native[0]}x{native[1]} pixels are no picture of ours")
                return Pixels(use(image), native)
        except FileNotFoundError as error:
            raise self._missing(path, error) from error
        except (
            UnidentifiedImageError,
            Image.DecompressionBombError,
            NotImplementedError,
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
        ) as error:
            raise DataError(
                f"{full} is not a readable image ({error})",
                mend=f"replace the file, then: cdfss-bench data check {self.card.name}",
            ) from error

    def _missing(self, path: str, error: OSError) -> DataError:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"({error.strerror})"
        return DataError(
            f"{self.root / path} {reason}",
            mend=f"cdfss-bench data check {self.card.name} --data-root DIR",
        )


def _label_map(image: Image.Image) -> NDArray[np.uint8]:
    # No conversion: a palette PNG's indices are the labels (PATNet data/pascal.py).
    labels = np.asarray(image)
    if labels.ndim != 2:
        raise ValueError(f"a label map has one channel, this has shape {labels.shape}")
    if labels.max(initial=0) > 255:
        raise ValueError(f"a label map holds 0 to 255, this holds {labels.max()}")
    return labels.astype(np.uint8)
