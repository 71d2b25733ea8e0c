"""Nuclei of the Data Science Bowl 2018: a folder per image, a mask per nucleus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from cdfss_bench.errors import DataError

from ..core.coded_domain import BINARY, CodedDomain
from ..core.domain import DomainClass, Item
from ..core.masks.pairing import files_in, folders_in

TREE = "Nucleus/stage1_train"


class Nucleus(CodedDomain):
    """Layout `Nucleus/stage1_train/ID/images/ID.png`, `.../ID/masks/*.png`, as published.

    The union of the masks is the truth. `Nucleus/ID/...` and `stage1_train/ID/...` are found too.
    """

    codes = BINARY

    def masks_of(self, item: Item) -> Sequence[str]:
        """A mask per nucleus; `item.mask` is their folder."""
        return self._masks[item.mask]

    def oddities_of(self, path: str) -> tuple[str, ...]:
        """As for all coded domains; not that pictures are RGBA, which all of them are."""
        if path in self._masks:
            return ()
        return tuple(odd for odd in super().oddities_of(path) if "alpha channel" not in odd)

    def discover(self) -> Sequence[DomainClass]:
        """The one class."""
        pairs = [(image, mask) for image, folder in self._images for mask in self._masks[folder]]
        self.numbers_in(pairs, self._base.relative_to(self.root).as_posix())
        items = (Item(image, image, folder, 1) for image, folder in self._images)
        return [DomainClass(0, self.card.classes[0], tuple(items))]

    @cached_property
    def _base(self) -> Path:
        for place in (TREE, "Nucleus", "stage1_train"):
            folder = self.root / place
            if any((child / "images").is_dir() for child in folders_in(folder).values()):
                return folder
        raise self.nothing_found()

    @cached_property
    def _images(self) -> Sequence[tuple[str, str]]:
        """(image, folder of its masks), relative to the root."""
        found: list[tuple[str, str]] = []
        for name, folder in folders_in(self._base).items():
            images = files_in(folder / "images")
            if len(images) != 1 or images[0].stem != name:
                seen = " and ".join(image.name for image in images) or "none"
                raise DataError(
                    f"{folder} needs one image images/{name}.png, there is {seen}",
                    hint="complete the folder, or remove it",
                )
            found.append((self.inside(images[0]), self.inside(folder / "masks")))
        return found

    @cached_property
    def _masks(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for image, folder in self._images:
            masks = tuple(map(self.inside, files_in(self.root / folder)))
            if not masks:
                raise DataError(
                    f"{self.root / image} has no mask in {self.root / folder}",
                    hint="complete the folder, or remove it with its image",
                )
            found[folder] = masks
        return found
