"""DeepGlobe land cover: binary masks of 408-pixel tiles, one folder per class."""

from __future__ import annotations

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain, listed


class DeepGlobe(FileDomain):
    """Layout `Deepglobe/{1..6}/test/{origin,groundtruth}/STEM.{jpg,png}` (PATNet `deepglobe.py`).

    One tile may lie in several class folders; each folder has its own mask of it.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The six class folders.

        Raises:
            DataError: if a tile has no mask.
        """
        return [
            DomainClass(index, name, self._items(str(index + 1)))
            for index, name in enumerate(self.card.classes)
        ]

    def scene(self, name: str) -> str:
        """The satellite picture that the tile was cut from: `1241` of `1241_sat_20.jpg`."""
        return name.rpartition("/")[2].partition("_sat")[0]

    def _items(self, folder: str) -> tuple[Item, ...]:
        images, masks = (f"Deepglobe/{folder}/test/{part}" for part in ("origin", "groundtruth"))
        with_mask = set(listed(self.root / masks, "png"))
        items: list[Item] = []
        for file in listed(self.root / images, "jpg"):
            mask = f"{file.partition('.')[0]}.png"
            if mask not in with_mask:
                raise DataError(
                    f"{self.root / images}/{file} has no mask {mask} in {self.root / masks}",
                    hint="complete the folder, or remove the tile",
                )
            items.append(Item(f"{images}/{file}", f"{images}/{file}", f"{masks}/{mask}"))
        return tuple(items)
