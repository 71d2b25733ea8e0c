"""ISIC 2018: the two official archives and the class table -> three class folders."""

import re

from cdfss_bench.errors import DataError

from ..domains.isic import IMAGES, MASKS, read_class_table
from .plan import Made, Plan, Unit, sha256_of
from .recipe import Recipe, by_stem, copied, first_found, paired, unused
from .sources import Source

TABLES = ("isic_class_id.csv", "class_id.csv")
_IMAGE = re.compile(r"(?P<id>ISIC_\d{7})\.jpg")


class ISICRecipe(Recipe):
    """`ISIC_x.jpg` -> `ISIC/ISIC2018_Task1-2_Training_Input/{1,2,3}/`, masks flat, files unchanged.

    The official download has no classes: the table comes from PATNet (`data fetch isic` gets it).
    PATNet does not say which class is folder 1; the default order is the pinned one of the card.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per image."""
        plan = Plan("ISIC", self.identity)
        files = source.entries
        images = by_stem((e for e in files if _IMAGE.fullmatch(e.plain_name)), plan)
        found = by_stem((e for e in files if e.plain_name.endswith("_segmentation.png")), plan)
        masks = {stem.removesuffix("_segmentation"): mask for stem, mask in found.items()}
        if not images:
            raise self.nothing_found("image ISIC_<id>.jpg", source)
        if not masks:
            raise self.nothing_found("mask ISIC_<id>_segmentation.png", source)
        data, where = self._table(source)
        table = read_class_table(data, where, self.card.classes)
        published = self.card.download("isic_class_id.csv")
        if published is not None and sha256_of(data) != published.sha256:
            plan.remarks.append(f"{where} is not the published class table (its sha256 differs)")
        order = self._order()
        plan.remarks.append(
            "folders: " + ", ".join(f"{n} {name}" for n, name in enumerate(order, start=1))
        )
        plan.units.append(Unit("class table", (), lambda: Made({"ISIC/class_id.csv": data})))
        for stem, image, mask in paired(images, masks, "_segmentation.png", plan):
            if stem not in table:
                plan.problems.append(f"{image.origin} is not in the class table {where}")
                continue
            kind, place = table[stem], order.index(table[stem]) + 1
            to = f"{IMAGES}/{place}/{image.plain_name}", f"{MASKS}/{mask.plain_name}"
            plan.units.append(copied(image.plain_name, image, mask, to, f"{place} {kind}"))
        absent = sum(key not in images for key in table)
        if absent:
            plan.remarks.append(f"{absent} images of the class table are not in the download")
        known = [e for e in files if _IMAGE.fullmatch(e.plain_name) or "_segmentation" in e.name]
        unused(plan, source, known, known=(".txt", ".csv", ".md"))
        return plan

    def _order(self) -> list[str]:
        order = re.split(r"[,/+\s]+", str(self.options["order"]).strip())
        if sorted(order) != sorted(self.card.classes):
            raise DataError(
                f"the order '{self.options['order']}' does not name each class once",
                hint=f"for example --order {','.join(self.card.classes)}",
            )
        return order

    def _table(self, source: Source) -> tuple[bytes, str]:
        places = [
            path
            for given in self.lists
            for path in ([given] if given.is_file() else [given / name for name in TABLES])
        ]
        entries = [entry for name in TABLES for entry in source.entries if entry.name == name]
        found = first_found(places, entries, "the class table")
        if found is None:
            raise DataError(
                "the class table is missing: the official download of ISIC has no classes",
                hint="cdfss-bench data fetch isic gets it, or name a file with --classes FILE",
            )
        return found[:2]
