"""Your own images: a folder per class for images, the same for masks, nothing to write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.errors import DataError

from .cache import Pixels
from .domain import DomainClass, Item
from .own import OwnDomain
from .transforms import binary_mask, resized_labels

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_ENDINGS = ("", "_mask", "_segmentation")


class FolderDomain(OwnDomain):
    """Layout `images/CLASS/NAME.jpg`, `masks/CLASS/NAME.png`.

    Classes are the folders, in the order of their names; suffixes may be those of any picture. A
    mask is called like its image, or with `_mask` or `_segmentation` after it. Every image of
    every class is asked once. A mask of 0 and 1 is read as it is, any other is cut at 128.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The class folders.

        Raises:
            DataError: if an image has no mask, or two, or two images share a name.
        """
        top = self.root / self._base
        folders = _children(top / "images", folders=True)
        return [
            DomainClass(self.card.first_class_id + index, name, self._items(name))
            for index, name in enumerate(folders)
        ]

    def read_labels(self, item: Item) -> Pixels:
        """The mask, [S, S] of 0 and 1.

        Raises:
            DataError: if the file is missing or is not a readable image.
        """
        side = self.card.image_size

        def decode() -> Pixels:
            return self.opened(item.mask, lambda image: resized_labels(_mask(image), side))

        return self.cached(item.mask, "own mask", decode)

    def grey_values(self, item: Item) -> int:
        """As for every domain; a mask of 0 and 1 has none."""
        found = 0

        def count(image: Image.Image) -> NDArray[np.uint8]:
            nonlocal found
            values = np.unique(np.asarray(image if _is_binary(image) else image.convert("L")))
            found = 0 if values[-1] <= 1 else int(((values > 0) & (values < 255)).sum())
            return np.zeros((1, 1), np.uint8)

        self.opened(item.mask, count)
        return found

    @property
    def _base(self) -> str:
        return str(self.options.get("path", ".")).rstrip("/") or "."

    def _items(self, name: str) -> tuple[Item, ...]:
        images, masks = (f"{self._base}/{part}/{name}" for part in ("images", "masks"))
        if self._base == ".":
            images, masks = images[2:], masks[2:]
        by_stem: dict[str, list[str]] = {}
        for file in _children(self.root / masks):
            by_stem.setdefault(Path(file).stem, []).append(file)
        items: list[Item] = []
        seen: dict[str, str] = {}
        for file in _children(self.root / images):
            stem = Path(file).stem
            where = self.root / images / file
            if stem in seen:
                raise DataError(
                    f"{where} and {seen[stem]} would share a mask", mend="rename one of them"
                )
            seen[stem] = file
            found = [mask for ending in _ENDINGS for mask in by_stem.get(stem + ending, ())]
            if len(found) != 1:
                wrong = " and ".join(found) if found else "none"
                raise DataError(
                    f"{where} needs one mask {stem}.png in {self.root / masks}, there is {wrong}",
                    mend="complete the folder, or remove the image",
                )
            items.append(Item(f"{images}/{file}", f"{images}/{file}", f"{masks}/{found[0]}"))
        return tuple(items)


def _children(folder: Path, *, folders: bool = False) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if not entry.name.startswith(".")
        and (entry.is_dir() if folders else entry.suffix.lower() in PICTURES)
    )


def _is_binary(image: Image.Image) -> bool:
    """Whether a mask of one channel holds nothing but 0 and 1 (indices, if it has a palette)."""
    one_channel = image.mode in ("L", "P", "1", "I", "I;16")
    return one_channel and int(np.asarray(image).max(initial=0)) <= 1


def _mask(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image).astype(np.uint8) if _is_binary(image) else binary_mask(image)
