"""Kvasir-SEG: polyps in the colon."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.domain import DomainClass
from ..core.file_domain import FileDomain

IMAGES = "Kvasir-SEG/images"
MASKS = "Kvasir-SEG/masks"


class Kvasir(FileDomain):
    """Layout `Kvasir-SEG/{images,masks}/NAME.jpg`, as published."""

    def discover(self) -> Sequence[DomainClass]:
        """The one class."""
        return [DomainClass(0, self.card.classes[0], self.paired(IMAGES, MASKS, ".jpg", "image"))]
