"""Kvasir-SEG: two folders of one archive, copied."""

from ..domains.kvasir import IMAGES, MASKS
from .plan import Plan
from .recipe import Recipe, by_stem, copied, left_over, paired, unused
from .sources import Source


class KvasirRecipe(Recipe):
    """`images/NAME.jpg`, `masks/NAME.jpg` -> `Kvasir-SEG/...`, files unchanged."""

    def plan(self, source: Source) -> Plan:
        """A unit per image."""
        plan = Plan("Kvasir-SEG", self.identity)
        pictures = [e for e in source.entries if e.suffix == ".jpg"]
        images = by_stem((e for e in pictures if e.folder.lower() == "images"), plan)
        masks = by_stem((e for e in pictures if e.folder.lower() == "masks"), plan)
        if not images or not masks:
            raise self.nothing_found("pair images/*.jpg, masks/*.jpg", source)
        for _, image, mask in paired(images, masks, ".jpg", plan):
            to = f"{IMAGES}/{image.plain_name}", f"{MASKS}/{mask.plain_name}"
            plan.units.append(copied(image.plain_name, image, mask, to, "pairs"))
        known = [e for e in source.entries if e.folder.lower() in ("images", "masks")]
        left_over(plan, known, pictures)
        unused(plan, source, known, known=(".json", ".txt", ".md"))
        return plan
