"""SUIM: underwater photographs, a folder of masks per class."""

from __future__ import annotations

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain, listed

IMAGES = "SUIM/images"
MASKS = "SUIM/masks"


class SUIM(FileDomain):
    """Layout `SUIM/images/NAME.jpg`, `SUIM/masks/CLASS/NAME.{png,bmp}` (as ABCDFSS merges it)."""

    def discover(self) -> Sequence[DomainClass]:
        """The seven classes; an image stands in each class that it has a mask of.

        Raises:
            DataError: if a mask has no image.
        """
        images = set(listed(self.root / IMAGES, "jpg"))
        return [
            DomainClass(index, name, tuple(self._item(name, file, images) for file in files))
            for index, name in enumerate(self.card.classes)
            for folder in (self.root / MASKS / name,)
            for files in (sorted([*listed(folder, "png"), *listed(folder, "bmp")]),)
        ]

    def _item(self, name: str, file: str, images: set[str]) -> Item:
        image = f"{file.partition('.')[0]}.jpg"
        if image not in images:
            raise DataError(
                f"{self.root / MASKS}/{name}/{file} has no image {image} in {self.root / IMAGES}",
                hint="complete the folder, or remove the mask",
            )
        return Item(f"{IMAGES}/{image}", f"{IMAGES}/{image}", f"{MASKS}/{name}/{file}")
