"""Chest X-ray: Kaggle's folder -> films and masks that the published loader can read."""

from __future__ import annotations

from ..domains.chestxray import IMAGES, MASKS, SECOND_HOSPITAL, film_of
from .plan import Made, Plan, Unit
from .recipe import Recipe, by_name, copied_pair, unused
from .sources import Entry, Source


class ChestXRayRecipe(Recipe):
    """`CXR_png/*.png`, `masks/*.png` -> `LungSegmentation/{CXR_png,masks}`, files unchanged.

    `hospitals=shenzhen` leaves out Montgomery (`MCUCXR_*`), on whose masks the published loader
    crashes: 566 pairs. `hospitals=both` keeps them: 704.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per mask.

        Raises:
            DataError: if there are no films or no masks.
        """
        plan = Plan("LungSegmentation", self.identity)
        pictures = [e for e in source.entries if e.suffix == ".png"]
        films = by_name((e for e in pictures if e.folder.lower() == "cxr_png"), plan)
        masks = by_name((e for e in pictures if e.folder.lower() in ("masks", "mask")), plan)
        if not films:
            raise self.nothing_found("film CXR_png/*.png", source)
        if not masks:
            raise self.nothing_found("mask masks/*.png", source)
        both = self.options["hospitals"] == "both"
        asked: set[str] = set()
        left = 0
        for name, mask in sorted(masks.items()):
            film = film_of(name)
            asked.add(film)
            if name.startswith(SECOND_HOSPITAL) and not both:
                left += 1
            elif film not in films:
                plan.problems.append(f"{mask.origin} has no film {film}")
            else:
                plan.units.append(_unit(films[film], mask))
        if left:
            plan.remarks.append(
                f"{left} pairs of Montgomery ({SECOND_HOSPITAL}_*) are left out, as in the "
                "published 566 (--hospitals both keeps them)"
            )
        if blind := sum(name not in asked for name in films):
            plan.remarks.append(f"{blind} films have no mask and are left out")
        known = [e for e in pictures if e.folder.lower() in ("cxr_png", "masks", "mask")]
        unused(plan, source, known, known=(".txt", ".csv", ".md", ".docx"))
        plan.output_bytes = sum(entry.size for unit in plan.units for entry in unit.inputs)
        return plan


def _unit(film: Entry, mask: Entry) -> Unit:
    def make() -> Made:
        made = copied_pair(film, mask, f"{IMAGES}/{film.plain_name}", f"{MASKS}/{mask.plain_name}")
        montgomery = mask.name.startswith(SECOND_HOSPITAL)
        made.counts["Montgomery" if montgomery else "Shenzhen"] = 1
        return made

    return Unit(mask.plain_name, (film, mask), make)
