"""Nuclei of the Data Science Bowl 2018: the archive of the training part, unpacked and checked."""

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..domains.nucleus import TREE
from .pictures import size_of
from .plan import Made, Plan, Unit, sha256_of
from .recipe import Recipe, unused
from .sources import Entry, Source


class NucleusRecipe(Recipe):
    """`ID/images/ID.png`, `ID/masks/*.png` -> `Nucleus/stage1_train/ID/...`, files unchanged."""

    def plan(self, source: Source) -> Plan:
        """A unit per image."""
        plan = Plan("Nucleus", self.identity)
        pictures = [e for e in source.entries if e.suffix == ".png"]
        images = {_place(e): e for e in pictures if e.folder == "images"}
        masks: dict[str, list[Entry]] = {}
        for entry in pictures:
            if entry.folder == "masks":
                masks.setdefault(_place(entry), []).append(entry)
        if not images or not masks:
            raise self.nothing_found("image ID/images/ID.png with masks ID/masks/*.png", source)
        tests = [place for place in images if "stage1_test" in images[place].origin]
        tests = [place for place in tests if place not in masks]
        for place, image in sorted(images.items()):
            if place in tests:
                continue
            if place.rpartition("/")[2] != image.stem:
                plan.problems.append(f"{image.origin} is not called like its folder")
            elif place not in masks:
                plan.problems.append(f"{image.origin} has no masks")
            else:
                plan.units.append(_unit(image, masks[place]))
        plan.problems += [
            f"{masks[p][0].origin} has no image" for p in sorted(masks.keys() - images)
        ]
        if tests:
            plan.remarks.append(
                f"{len(tests)} images of stage1_test have no masks and are left out"
            )
        known = [e for e in pictures if e.folder in ("images", "masks")]
        unused(plan, source, known, known=(".csv", ".txt", ".md"))
        return plan


def _place(entry: Entry) -> str:
    """The path of an image's own folder."""
    return entry.path.rpartition("/")[0].rpartition("/")[0]


def _unit(image: Entry, masks: Sequence[Entry]) -> Unit:
    def make() -> Made:
        data = image.read()
        made = Made(looks={image.stem: sha256_of(data)})
        size = size_of(data, image.origin)
        made.files[f"{TREE}/{image.stem}/images/{image.plain_name}"] = image
        for mask in masks:
            other = size_of(mask.read(), mask.origin)
            if other != size:
                raise DataError(
                    f"{mask.origin} is {other[0]}x{other[1]} but its image is {size[0]}x{size[1]}"
                )
            made.files[f"{TREE}/{image.stem}/masks/{mask.plain_name}"] = mask
        made.counts["images"] = 1
        made.counts["nuclei"] = len(masks)
        return made

    return Unit(image.stem, (image, *masks), make)
