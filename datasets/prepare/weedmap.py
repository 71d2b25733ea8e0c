"""WeedMap: the RGB tiles of the RedEdge fields and one map of each, copied."""

from dataclasses import replace

from cdfss_bench.errors import DataError

from ..domains.weedmap import ENDINGS, TILES, TRUTH
from .pictures import size_of
from .plan import Made, Plan, Unit
from .recipe import Recipe, by_name, copied_pair
from .sources import Entry, Source


class WeedMapRecipe(Recipe):
    """`FIELD/tile/RGB/*.png`, `FIELD/groundtruth/FIELD_*.png` -> `WeedMap/...`, files unchanged.

    Of a tile's index map and colour map the former is taken where both are there.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per tile."""
        plan = Plan("WeedMap", self.identity)
        pictures = [e for e in source.entries if e.suffix == ".png"]
        tiles = [e for e in pictures if f"/{e.path}".rpartition("/")[0].endswith(f"/{TILES}")]
        coded = [e for e in pictures if e.folder == TRUTH and e.name.endswith(ENDINGS)]
        coded = [e for e in coded if "Orthomosaic" not in e.path]
        maps = by_name(coded, plan)
        if not tiles:
            raise self.nothing_found(f"tile FIELD/{TILES}/*.png", source)
        if not maps:
            raise self.nothing_found(f"map FIELD/{TRUTH}/*{ENDINGS[0]}", source)
        for tile in tiles:
            field = tile.path.split("/")[-4] if tile.path.count("/") > 2 else ""
            names = [f"{field}_{tile.stem}{ending}" for ending in ENDINGS]
            found = [maps.pop(name) for name in names if name in maps]
            if not found:
                plan.problems.append(f"{tile.origin} has no map {names[0]}")
            else:
                plan.units.append(_unit(field, tile, found[0]))
        fields = {unit.name.partition("/")[0] for unit in plan.units}
        blind = 0
        for name, mask in sorted(maps.items()):
            if name.partition("_")[0] in fields:
                plan.problems.append(f"{mask.origin} has no RGB tile")
            else:
                blind += 1
        if blind:
            plan.remarks.append(f"{blind} maps of fields without RGB tiles are left out")
        if rest := len(source.entries) - len(tiles) - len(coded):
            plan.remarks.append(f"{rest} other files (channels, composites) have no use here")
        plan.remarks += list(source.remarks)
        return plan


def _unit(field: str, tile: Entry, mask: Entry) -> Unit:
    def make() -> Made:
        sizes = [size_of(entry.read(), entry.origin) for entry in (tile, mask)]
        if sizes[0] != sizes[1]:
            raise DataError(
                f"{mask.origin} is {sizes[1][0]}x{sizes[1][1]} but its tile is "
                f"{sizes[0][0]}x{sizes[0][1]}"
            )
        base = f"WeedMap/{field}"
        to = f"{base}/{TILES}/{tile.plain_name}", f"{base}/{TRUTH}/{mask.plain_name}"
        # Dark tiles beside a field are alike; that says nothing of the download.
        return replace(copied_pair(tile, mask, to, "tiles"), looks={})

    return Unit(f"{field}/{tile.plain_name}", (tile, mask), make)
