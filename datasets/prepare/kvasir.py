"""Kvasir-SEG: two folders of one archive, copied."""

from __future__ import annotations

from ..domains.kvasir import IMAGES, MASKS
from .plan import Made, Plan, Unit
from .recipe import Recipe, by_name, copied_pair, left_over, paired, unused
from .sources import Entry, Source


class KvasirRecipe(Recipe):
    """`images/NAME.jpg`, `masks/NAME.jpg` -> `Kvasir-SEG/...`, files unchanged."""

    def plan(self, source: Source) -> Plan:
        """A unit per image.

        Raises:
            DataError: if there are no images or no masks.
        """
        plan = Plan("Kvasir-SEG", self.identity)
        pictures = [e for e in source.entries if e.suffix == ".jpg"]
        images = by_name((e for e in pictures if e.folder.lower() == "images"), plan)
        masks = by_name((e for e in pictures if e.folder.lower() == "masks"), plan)
        if not images or not masks:
            raise self.nothing_found("pair images/*.jpg, masks/*.jpg", source)
        by_stem = {mask.stem: mask for mask in masks.values()}
        pairs = paired(images, by_stem, ".jpg", plan)
        plan.units += [_unit(image, mask) for _, image, mask in pairs]
        known = [e for e in source.entries if e.folder.lower() in ("images", "masks")]
        left_over(plan, known, pictures)
        unused(plan, source, known, known=(".json", ".txt", ".md"))
        plan.output_bytes = sum(entry.size for unit in plan.units for entry in unit.inputs)
        return plan


def _unit(image: Entry, mask: Entry) -> Unit:
    def make() -> Made:
        to = f"{IMAGES}/{image.plain_name}", f"{MASKS}/{mask.plain_name}"
        made = copied_pair(image, mask, *to)
        made.counts["pairs"] = 1
        return made

    return Unit(image.plain_name, (image, mask), make)
