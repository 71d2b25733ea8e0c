"""Pothole Mix: pictures of several sources with coloured marks become black and white pairs."""

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

from ..domains.pothole import IMAGES, MASKS
from .pictures import decoded, lossless, size_of
from .plan import Made, Plan, Unit, sha256_of
from .recipe import PICTURES, Recipe, left_over, paired, unused
from .sources import Entry, Source

MARKS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
"""RGB of the marks on black; masks of one kind of damage may be white."""


class PotholeRecipe(Recipe):
    """`PART/SOURCE/{images,masks}/NAME.*` -> `Pothole/{images,masks}/PART_SOURCE_NAME.*`.

    Each channel of a mask is cut at 128. `marks=any` takes each mark for the object, `marks=red`
    only that colour (and white).
    """

    def plan(self, source: Source) -> Plan:
        """A unit per picture."""
        plan = Plan("Pothole", self.identity)
        images = self._named(source, "images", (".jpg", ".jpeg", ".png"), plan)
        masks = self._named(source, "masks", (".png", ".bmp"), plan)
        if not images or not masks:
            raise self.nothing_found("pair images/NAME.jpg, masks/NAME.png", source)
        marks = str(self.options["marks"])
        plan.units += [_unit(*pair, marks) for pair in paired(images, masks, ".png", plan)]
        known = [e for e in source.entries if e.folder in ("images", "masks")]
        left_over(plan, known, [e for e in known if e.suffix in (".jpg", ".jpeg", ".png", ".bmp")])
        known = [e for e in known if e.suffix in PICTURES]
        unused(plan, source, known, known=(".txt", ".md", ".mp4", ".avi"))
        plan.output_bytes = sum(unit.inputs[0].size + 50_000 for unit in plan.units)
        return plan

    def _named(
        self, source: Source, folder: str, suffixes: tuple[str, ...], plan: Plan
    ) -> dict[str, Entry]:
        """Entries by `PART_SOURCE_NAME`, since the parts number their pictures alike."""
        found: dict[str, Entry] = {}
        for entry in source.entries:
            if entry.folder != folder or entry.suffix not in suffixes:
                continue
            name = "_".join([*entry.path.split("/")[:-2][-2:], entry.stem])
            if name in found:
                plan.problems.append(f"{entry.origin} and {found[name].name} have one name")
            else:
                found[name] = entry
        return found


def _unit(name: str, image: Entry, mask: Entry, marks: str) -> Unit:
    def make() -> Made:
        data = image.read()
        size = size_of(data, image.origin)
        codes = decoded(mask, "RGB") >= 128
        if codes.shape[1::-1] != size:
            raise DataError(
                f"{mask.origin} is {codes.shape[1]}x{codes.shape[0]} but its image is "
                f"{size[0]}x{size[1]}"
            )
        made = Made(looks={name: sha256_of(data)})
        found = {title: _is(codes, colour) for title, colour in MARKS.items()}
        unknown = codes.any(axis=-1) & ~np.logical_or.reduce(list(found.values()))
        if unknown.any():
            raise DataError(
                f"{mask.origin} has {int(unknown.sum())} pixels of another colour than "
                f"black, {', '.join(MARKS)}"
            )
        taken = list(found) if marks == "any" else [marks, "white"]
        made.files[f"{IMAGES}/{name}{image.suffix}"] = image
        made.files[f"{MASKS}/{name}.png"] = lossless(
            np.logical_or.reduce([found[title] for title in taken])
        )
        made.counts["pairs"] = 1
        for title, where in found.items():
            made.counts[title] = int(where.any())
        return made

    return Unit(name, (image, mask), make)


def _is(codes: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return (codes == (np.array(colour) > 0)).all(axis=-1)
