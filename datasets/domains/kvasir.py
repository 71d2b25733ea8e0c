"""Kvasir-SEG: polyps in the colon."""

from __future__ import annotations

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain, listed

IMAGES = "Kvasir-SEG/images"
MASKS = "Kvasir-SEG/masks"


class Kvasir(FileDomain):
    """Layout `Kvasir-SEG/{images,masks}/NAME.jpg`, as published."""

    def discover(self) -> Sequence[DomainClass]:
        """The one class.

        Raises:
            DataError: if an image has no mask.
        """
        masks = set(listed(self.root / MASKS, "jpg"))
        items: list[Item] = []
        for file in listed(self.root / IMAGES, "jpg"):
            if file not in masks:
                raise DataError(
                    f"{self.root / IMAGES}/{file} has no mask {file} in {self.root / MASKS}",
                    hint="complete the folder, or remove the image",
                )
            items.append(Item(f"{IMAGES}/{file}", f"{IMAGES}/{file}", f"{MASKS}/{file}"))
        return [DomainClass(0, self.card.classes[0], tuple(items))]
