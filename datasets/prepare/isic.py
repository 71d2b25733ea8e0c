"""ISIC 2018: the two official archives and the class table -> three class folders."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from cdfss_bench.errors import DataError

from ..domains.isic import IMAGES, MASKS, read_class_table
from .plan import Made, Plan, Unit
from .recipe import Recipe, by_name, copied_pair, unused
from .sources import Entry, Source

TABLES = ("isic_class_id.csv", "class_id.csv")
_IMAGE = re.compile(r"(?P<id>ISIC_\d{7})\.jpg")


class ISICRecipe(Recipe):
    """`ISIC_x.jpg` -> `ISIC/ISIC2018_Task1-2_Training_Input/{1,2,3}/`, masks flat, files unchanged.

    The official download has no classes: the table comes from PATNet (`data fetch isic` gets it).
    PATNet does not say which class is folder 1; the default order is the pinned one of the card.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per image.

        Raises:
            DataError: if images, masks or the class table are missing.
        """
        plan = Plan("ISIC", self.identity)
        files = source.entries
        images = by_name((e for e in files if _IMAGE.fullmatch(e.plain_name)), plan)
        masks = by_name((e for e in files if e.plain_name.endswith("_segmentation.png")), plan)
        if not images:
            raise self.nothing_found("image ISIC_<id>.jpg", source)
        if not masks:
            raise self.nothing_found("mask ISIC_<id>_segmentation.png", source)
        data, where = self._table(source)
        table = read_class_table(data, where, self.card.classes)
        published = self.card.download("isic_class_id.csv")
        if published is not None and hashlib.sha256(data).hexdigest() != published.sha256:
            plan.remarks.append(f"{where} is not the published class table (its sha256 differs)")
        order = self._order()
        plan.remarks.append(
            "folders: " + ", ".join(f"{n} {name}" for n, name in enumerate(order, start=1))
        )
        plan.units.append(Unit("class table", (), lambda: Made({"ISIC/class_id.csv": data})))
        for name, image in sorted(images.items()):
            stem = name.removesuffix(".jpg")
            mask = masks.pop(f"{stem}_segmentation.png", None)
            if mask is None:
                plan.problems.append(f"{image.origin} has no mask {stem}_segmentation.png")
            elif stem not in table:
                plan.problems.append(f"{image.origin} is not in the class table {where}")
            else:
                place = order.index(table[stem]) + 1
                plan.units.append(self._unit(image, mask, place, table[stem]))
        plan.problems += [f"{mask.origin} has no image" for _, mask in sorted(masks.items())]
        absent = sum(f"{key}.jpg" not in images for key in table)
        if absent:
            plan.remarks.append(f"{absent} images of the class table are not in the download")
        known = [e for e in files if e.plain_name in images or "_segmentation" in e.name]
        unused(plan, source, known, known=(".txt", ".csv", ".md"))
        plan.output_bytes = sum(entry.size for unit in plan.units for entry in unit.inputs)
        return plan

    def _unit(self, image: Entry, mask: Entry, place: int, name: str) -> Unit:
        to = f"{IMAGES}/{place}/{image.plain_name}", f"{MASKS}/{mask.plain_name}"

        def make() -> Made:
            made = copied_pair(image, mask, *to)
            made.counts[f"{place} {name}"] = 1
            return made

        return Unit(image.plain_name, (image, mask), make)

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
        for path in places:
            if path.is_file():
                return _bytes_of(path), str(path)
        for name in TABLES:
            for entry in source.entries:
                if entry.name == name:
                    return entry.read(), entry.origin
        raise DataError(
            "the class table is missing: the official download of ISIC has no classes",
            hint="cdfss-bench data fetch isic gets it, or name a file with --classes FILE",
        )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the class table {path} cannot be read ({error.strerror})") from error
