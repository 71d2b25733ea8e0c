"""DeepGlobe land cover: binary masks of 408-pixel tiles, one folder per class."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.domain import DomainClass
from ..core.file_domain import FileDomain


class DeepGlobe(FileDomain):
    """Layout `Deepglobe/{1..6}/test/{origin,groundtruth}/STEM.{jpg,png}` (PATNet `deepglobe.py`).

    One tile may lie in several class folders; each folder has its own mask of it.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The six class folders."""
        bases = [f"Deepglobe/{number}/test" for number in range(1, len(self.card.classes) + 1)]
        return [
            DomainClass(
                n, name, self.paired(f"{base}/origin", f"{base}/groundtruth", ".png", "tile")
            )
            for n, (name, base) in enumerate(zip(self.card.classes, bases, strict=True))
        ]

    def scene(self, name: str) -> str:
        """The satellite picture that the tile was cut from: `1241` of `1241_sat_20.jpg`."""
        return name.rpartition("/")[2].partition("_sat")[0]
