"""Chest X-ray: Kaggle's folder -> films and masks that the published loader can read."""

from ..domains.chestxray import IMAGES, MASKS, SECOND_HOSPITAL, film_of
from .plan import Plan
from .recipe import Recipe, by_name, copied, unused
from .sources import Source


class ChestXRayRecipe(Recipe):
    """`CXR_png/*.png`, `masks/*.png` -> `LungSegmentation/{CXR_png,masks}`, files unchanged.

    `hospitals=shenzhen` leaves out Montgomery (`MCUCXR_*`), on whose masks the published loader
    crashes: 566 pairs. `hospitals=both` keeps them: 704.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per mask."""
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
                to = f"{IMAGES}/{films[film].plain_name}", f"{MASKS}/{name}"
                hospital = "Montgomery" if name.startswith(SECOND_HOSPITAL) else "Shenzhen"
                plan.units.append(copied(name, films[film], mask, to, hospital))
        if left:
            plan.remarks.append(
                f"{left} pairs of Montgomery ({SECOND_HOSPITAL}_*) are left out, as in the "
                "published 566 (--hospitals both keeps them)"
            )
        if blind := sum(name not in asked for name in films):
            plan.remarks.append(f"{blind} films have no mask and are left out")
        known = [e for e in pictures if e.folder.lower() in ("cxr_png", "masks", "mask")]
        unused(plan, source, known, known=(".txt", ".csv", ".md", ".docx"))
        return plan
