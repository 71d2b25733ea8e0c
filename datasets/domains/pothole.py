"""Potholes: pictures of road surfaces with black and white masks."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.coded_domain import BINARY, CodedDomain
from ..core.domain import DomainClass, Item
from ..core.masks.pairing import pairs_of

IMAGES = "Pothole/images"
MASKS = "Pothole/masks"


class Pothole(CodedDomain):
    """Layout `Pothole/images/NAME.jpg`, `Pothole/masks/NAME.png`, as `data prepare` makes it."""

    codes = BINARY

    def discover(self) -> Sequence[DomainClass]:
        """The one class, with the pictures whose mask is not empty."""
        found = pairs_of(self.root / IMAGES, self.root / MASKS)
        pairs = [(f"{IMAGES}/{image.name}", f"{MASKS}/{mask.name}") for image, mask in found]
        shown = self.numbers_in(pairs, "Pothole")
        if empty := sum(not numbers for numbers in shown.values()):
            self.note(f"masks without a pothole, whose pictures are left out: {empty}")
        items = (Item(image, image, mask, 1) for image, mask in pairs if shown[mask])
        return [DomainClass(0, self.card.classes[0], tuple(items))]
