"""SUIM: colour-coded masks become a folder of masks per class."""

import numpy as np

from ..domains.suim import COLOURS, IMAGES, MASKS
from .pictures import decoded, lossless, size_of
from .plan import Made, Plan, Unit, sha256_of
from .recipe import Recipe, by_stem, left_over, paired, unused
from .sources import Entry, Source


class SUIMRecipe(Recipe):
    """`images/NAME.jpg`, `masks/NAME.bmp` of both parts -> a mask per class that is not empty.

    Each channel of a mask is cut at 128.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per image."""
        plan = Plan("SUIM", self.identity)
        pictures = by_stem(
            (e for e in source.entries if _is_in(e, "images") and e.suffix == ".jpg"), plan
        )
        coded = [e for e in source.entries if _is_in(e, "masks") and e.suffix in (".bmp", ".png")]
        masks = by_stem(coded, plan)
        if not pictures:
            raise self.nothing_found("photograph images/*.jpg", source)
        if not masks:
            raise self.nothing_found("colour-coded mask masks/*.bmp", source)
        pairs = paired(pictures, masks, ".bmp", plan)
        plan.units += [_unit(picture, mask) for _, picture, mask in pairs]
        photos = [e for e in source.entries if _is_in(e, "images")]
        left_over(plan, photos, (e for e in photos if e.suffix == ".jpg"))
        left_over(plan, (e for e in source.entries if _is_in(e, "masks")), coded)
        unused(plan, source, [*photos, *coded], known=(".txt", ".md"))
        plan.output_bytes = sum(unit.inputs[0].size + 100_000 for unit in plan.units)
        return plan


def _is_in(entry: Entry, folder: str) -> bool:
    return entry.folder.lower() == folder


def _unit(picture: Entry, mask: Entry) -> Unit:
    name = picture.plain_name

    def make() -> Made:
        data = picture.read()
        size = size_of(data, picture.origin)
        codes = decoded(mask, "RGB") >= 128
        made = Made(looks={name: sha256_of(data)})
        made.counts["images"] = 1
        made.files[f"{IMAGES}/{name}"] = picture
        for title, colour in COLOURS.items():
            where = (codes == (np.array(colour) > 0)).all(axis=-1)
            if where.any():
                made.files[f"{MASKS}/{title}/{picture.stem}.png"] = lossless(where)
                made.counts[title] = 1
        if codes.shape[1::-1] != size:
            made.odd.append(
                f"{mask.path} is {codes.shape[1]}x{codes.shape[0]} but its image is "
                f"{size[0]}x{size[1]}; both are kept"
            )
        return made

    return Unit(name, (picture, mask), make)
