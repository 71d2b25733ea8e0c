"""WeedMap: tiles of sugar beet fields from the air, with crop and weed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from cdfss_bench.errors import DataError

from ..core.coded_domain import CodedDomain, Codes
from ..core.domain import DomainClass, Item
from ..core.masks.pairing import files_in, folders_in

TILES = "tile/RGB"
TRUTH = "groundtruth"
ENDINGS = ("_GroundTruth_iMap.png", "_GroundTruth_color.png")
"""Of an index map and of a colour map; the former is read where both are at hand."""


class WeedMap(CodedDomain):
    """Layout `WeedMap/FIELD/tile/RGB/frameNNNN.png`, `.../groundtruth/FIELD_frameNNNN_*.png`.

    FIELD is 000 to 004, the fields of the RedEdge camera, which gives RGB. Index maps hold 10000
    (or 1) for crop and 2 for weed, colour maps green for crop and red for weed. A tile stands in
    each class that its mask shows.
    """

    codes = Codes(values=((10000, 1), (1, 1), (2, 2)), colours=((0x00FF00, 1), (0xFF0000, 2)))

    def discover(self) -> Sequence[DomainClass]:
        """Crop and weed."""
        pairs = [pair for field in self._fields for pair in self._pairs(field)]
        shown = self.numbers_in(pairs, "WeedMap")
        if bare := sum(not numbers for numbers in shown.values()):
            self.note(f"tiles that show neither crop nor weed and are left out: {bare}")
        return [
            DomainClass(
                number - 1,
                name,
                tuple(Item(i, i, mask, number) for i, mask in pairs if number in shown[mask]),
            )
            for number, name in enumerate(self.card.classes, 1)
        ]

    @cached_property
    def _fields(self) -> list[Path]:
        for place in ("WeedMap", "WeedMap/RedEdge", "WeedMap/Tiles/RedEdge", "Tiles/RedEdge"):
            folders = folders_in(self.root / place)
            if fields := [folder for folder in folders.values() if (folder / TILES).is_dir()]:
                return fields
        raise self.nothing_found()

    def _pairs(self, field: Path) -> Iterator[tuple[str, str]]:
        """(tile, mask) of a field, relative to the root."""
        masks = {file.name for file in files_in(field / TRUTH)}
        used: set[str] = set()
        for tile in files_in(field / TILES):
            names = [f"{field.name}_{tile.stem}{ending}" for ending in ENDINGS]
            found = [name for name in names if name in masks]
            if not found:
                raise DataError(
                    f"{tile} has no mask {names[0]} (or {names[1]}) in {field / TRUTH}",
                    hint="complete the folder, or remove the tile",
                )
            used.update(found)
            yield self.inside(tile), self.inside(field / TRUTH / found[0])
        if lonely := sorted(name for name in masks - used if name.endswith(ENDINGS)):
            raise DataError(
                f"{field / TRUTH / lonely[0]} belongs to no tile in {field / TILES}",
                hint="complete the folder, or remove the mask",
            )
