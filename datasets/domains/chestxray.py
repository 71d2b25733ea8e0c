"""Chest X-ray: lungs of the Shenzhen films; the published 566 pairs, or all 704."""

from __future__ import annotations

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain, listed

IMAGES = "LungSegmentation/CXR_png"
MASKS = "LungSegmentation/masks"
SECOND_HOSPITAL = "MCUCXR"


class ChestXRay(FileDomain):
    """Layout `CXR_png/NAME.png`, `masks/NAME_mask.png` (PATNet `data/lung.py`).

    Candidates are the masks: X-rays without one are never asked. The 138 films of the second
    hospital (Montgomery, `MCUCXR_*`) crash the published loader, whose image name is the mask's
    without its last nine characters; everybody who reproduces it drops them, which gives 566.
    `hospitals=both` reads them too (704), as DR-Adapter's loader does.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The one class."""
        films = set(listed(self.root / IMAGES, "png"))
        both = self.options["hospitals"] == "both"
        items: list[Item] = []
        for file in listed(self.root / MASKS, "png"):
            if file.startswith(SECOND_HOSPITAL) and not both:
                continue
            film = film_of(file)
            if film not in films:
                raise DataError(
                    f"{self.root / MASKS}/{file} has no film {film} in {self.root / IMAGES}",
                    hint="complete CXR_png, or remove the mask",
                )
            items.append(Item(f"{MASKS}/{file}", f"{IMAGES}/{film}", f"{MASKS}/{file}"))
        return [DomainClass(0, self.card.classes[0], tuple(items))]


def film_of(mask: str) -> str:
    """The film's file name: the mask's without `_mask`, which the second hospital's lack."""
    return f"{mask.removesuffix('.png').removesuffix('_mask')}.png"
