"""Domains that lie on disk: listing as the published loaders list, reading with clear errors."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.canonical import digest
from cdfss_bench.errors import DataError

from .content_index import Contents, FileChangedError
from .decode_cache import Pixels, picture_key
from .domain import Domain, DomainClass, Item
from .opening import opened
from .transforms import binary_mask, eight_bits, is_deep, resized_image, resized_labels
from .upright import is_transparent, orientation_of

T = TypeVar("T")


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
        """The picture at `path` (relative to the root), uint8 [S, S, 3]."""
        side = self.card.image_size

        def decode() -> Pixels:
            with self.opened(path) as image:
                native = image.size
                return Pixels(resized_image(image, side), native)

        return self.cached(path, "image", decode)

    def read_labels(self, item: Item) -> Pixels:
        """The mask of `item`, [S, S]: 0/1, or label values where `item.label` is set."""
        side = self.card.image_size
        binary = item.label is None

        def decode() -> Pixels:
            with self.opened(item.mask) as image:
                native = image.size
                labels = binary_mask(image) if binary else _label_map(image)
                return Pixels(resized_labels(labels, side), native)

        return self.cached(item.mask, "binary" if binary else "labels", decode)

    def grey_values(self, item: Item) -> int:
        """How many values other than black and white a mask file holds.

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        with self.opened(item.mask) as image:
            histogram = eight_bits(image).convert("L").histogram()
        return sum(amount > 0 for amount in histogram[1:255])

    @property
    def classes_without_truth(self) -> tuple[str, ...]:
        """Classes whose every mask is empty; damaged masks are for the reader to name."""
        return self._bare

    @cached_property
    def _bare(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes if not self._has_truth(entry))

    def _has_truth(self, entry: DomainClass) -> bool:
        try:
            return any(self.truth(item).any() for item in entry.items)
        except DataError:
            return True

    def note_oddities(self, item: Item, *, role: str) -> None:
        """As for every domain, and what the published reading makes of unusual files."""
        super().note_oddities(item, role=role)
        for path in (item.image, item.mask):
            if path not in self._odd:
                self._odd[path] = self.oddities_of(path)
            for oddity in self._odd[path]:
                self.note(f"{path} {oddity}")

    def oddities_of(self, path: str) -> tuple[str, ...]:
        """What is unusual about the file at `path`, by its header alone, and how it is read."""
        with self.opened(path) as image:
            orientation, frames = orientation_of(image), int(getattr(image, "n_frames", 1))
            found = {
                f"is read as stored, not turned by its EXIF orientation {orientation}": (
                    orientation != 1
                ),
                "has more than 8 bits, which are scaled": is_deep(image),
                "holds several pictures, of which the first is read": (
                    frames > 1 and image.format != "MPO"
                ),
                "has an alpha channel, which is not read": is_transparent(image),
            }
        return tuple(oddity for oddity, is_so in found.items() if is_so)

    @cached_property
    def _odd(self) -> dict[str, tuple[str, ...]]:
        return {}

    def paired(self, images: str, masks: str, ending: str, what: str) -> tuple[Item, ...]:
        """Every `.jpg` in the folder `images` with its mask in `masks`, as the layouts have them.

        Args:
            images: relative to the root.
            masks: relative to the root.
            ending: of a mask, behind the name of its image up to the first dot.
            what: an image is called in hints.

        Raises:
            DataError: naming an image without a mask.
        """
        here = set(listed(self.root / masks, ending.rpartition(".")[2]))
        items: list[Item] = []
        for file in listed(self.root / images, "jpg"):
            mask = file.partition(".")[0] + ending
            if mask not in here:
                raise DataError(
                    f"{self.root / images}/{file} has no mask {mask} in {self.root / masks}",
                    hint=f"complete the folder, or remove the {what}",
                )
            items.append(Item(f"{images}/{file}", f"{images}/{file}", f"{masks}/{mask}"))
        return tuple(items)

    def extra_files(self) -> Sequence[Path]:
        """Files beside images and masks that decide what is read: annotations, class tables, lists.

        A reader names those that it has read, in an order that does not depend on where they lie.
        """
        return ()

    def item_files(self, item: Item) -> Sequence[str]:
        """The files that an item's pixels are read from, relative to the root.

        A reader whose masks are drawn from annotations names the image alone.
        """
        return (item.image, item.mask)

    def inside(self, path: Path) -> str:
        """`path` relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    @property
    def hashed_name(self) -> str:
        """The domain with all options that change what is read."""
        return self.title

    def content_hash(self, *, again: bool = False) -> str:
        """sha256 over class ids, names, labels and the content of every file that is read.

        It depends neither on where the root lies nor on times, nor on how an operating system
        spells a name.

        Args:
            again: whether every file is hashed, whatever the index says of it.

        Raises:
            DataError: naming a file that cannot be read.
        """
        items = [(entry, item) for entry in self.classes for item in entry.items]
        files = {item: tuple(self.item_files(item)) for _, item in items}
        extra = [str(path.absolute()) for path in self.extra_files()]
        what = f"the files of {self.title}"
        with self._explained():
            # First what `classes` has just read, before anybody edits it.
            held = self._contents.all(extra, what, again=again)
            paths = [path for found in files.values() for path in found]
            held |= self._contents.all(paths, what, again=again)
        rows = [
            [e.id, _portable(i.name), i.label, *(held[path] for path in files[i])] for e, i in items
        ]
        return digest(
            {
                "domain": self.hashed_name,
                "classes": [[entry.id, _portable(entry.name)] for entry in self.classes],
                "files": sorted(rows, key=repr),
                "extra": [held[path] for path in extra],
            }
        )

    def cached(self, path: str | Sequence[str], kind: str, decode: Callable[[], Pixels]) -> Pixels:
        """What `decode` makes of the file at `path`, or what it made of the same content before.

        Args:
            path: of the file, or of each of several, relative to the root.
            kind: names all that decides the pixels beside the content.
            decode: reads the file.

        Raises:
            DataError: if the file is missing, or holds something else than when it was hashed.
        """
        paths = (path,) if isinstance(path, str) else tuple(path)

        def hashed() -> str:
            with self._explained():
                found = [self._contents.sha256(one) for one in paths]
            return found[0] if len(found) == 1 else digest(found)

        content = hashed()

        def checked() -> Pixels:
            pixels = decode()
            hashed()  # replaced while it was decoded: nobody may keep this
            return pixels

        return self.cache.get(picture_key(content, kind=kind, side=self.card.image_size), checked)

    @cached_property
    def _contents(self) -> Contents:
        return Contents(self.root, self.cache.folder)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except FileChangedError as error:
            raise DataError(
                f"{error.path} changed while it was in use",
                hint="type the same command again: the changed data count as other data",
            ) from error
        except OSError as error:
            raise self._missing(error.filename, error) from error

    @contextmanager
    def opened(self, path: str) -> Generator[Image.Image]:
        """The picture at `path`, relative to the root, opened but not decoded.

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        full = self.root / path
        try:
            with opened(full, full, self.replace_hint) as image:
                yield image
        except FileNotFoundError as error:
            raise self._missing(path, error) from error

    @property
    def replace_hint(self) -> str:
        """What helps where a file is unsound."""
        return f"replace the file, then: cdfss-bench data check {self.card.name}"

    def _missing(self, path: str, error: OSError) -> DataError:
        if not isinstance(error, FileNotFoundError):
            return DataError(
                f"{self.root / path} cannot be read ({error.strerror})",
                hint="make it a file that you may read, or replace it",
            )
        return DataError(
            f"{self.root / path} is missing",
            hint=f"cdfss-bench data check {self.card.name} --data-root DIR",
        )


def _label_map(image: Image.Image) -> NDArray[np.uint8]:
    # No conversion: a palette PNG's indices are the labels (PATNet data/pascal.py).
    labels = np.asarray(image)
    if labels.ndim != 2:
        raise ValueError(f"a label map has one channel, this has shape {labels.shape}")
    if labels.max(initial=0) > 255:
        raise ValueError(f"a label map holds 0 to 255, this holds {labels.max()}")
    return labels.astype(np.uint8)


def _portable(name: str) -> str:
    """A name as every operating system would spell it: composed letters, forward slashes."""
    return unicodedata.normalize("NFC", name.replace(os.sep, "/"))
