"""ISIC 2018 skin lesions: images in three class folders, all masks in one flat folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain

IMAGES = "ISIC/ISIC2018_Task1-2_Training_Input"
MASKS = "ISIC/ISIC2018_Task1_Training_GroundTruth"


class ISIC(FileDomain):
    """Layout `ISIC2018_Task1-2_Training_Input/{1,2,3}/ISIC_x.jpg` (PATNet `data/isic.py`).

    PATNet does not say which class is folder 1; three orders are in use. Episodes follow the
    folders, as every published loader does; the classes are named by the class table where there
    is one (`ISIC/class_id.csv`, or `isic_class_id.csv` in the lists folder), else by the order
    that the card pins. The order changes the episodes drawn, not the mean over classes.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The three class folders."""
        folders = [
            self.paired(f"{IMAGES}/{folder}", MASKS, "_segmentation.png", "image")
            for folder in ("1", "2", "3")
        ]
        names = [self._class_of(index, items) for index, items in enumerate(folders)]
        present = {index: names[index] for index, items in enumerate(folders) if items}
        if len(set(present.values())) != len(present):
            raise DataError(
                f"{self.root / IMAGES}: by the class table two folders hold the same class "
                f"({', '.join(present.values())})",
                hint="split the images into 1, 2, 3 by their class",
            )
        if any(name != self.card.classes[index] for index, name in present.items()):
            self.note(
                f"ISIC folders {', '.join(str(index + 1) for index in present)} are "
                f"{', '.join(present.values())}: episodes are drawn in that order, "
                f"not in the pinned one ({', '.join(self.card.classes)})"
            )
        return [
            DomainClass(i, n, items)
            for i, (n, items) in enumerate(zip(names, folders, strict=True))
        ]

    def extra_files(self) -> Sequence[Path]:
        """The class table, where there is one."""
        places = [self.root / "ISIC" / "class_id.csv"]
        if self.lists is not None:
            places.insert(0, self.lists / "isic_class_id.csv")
        return [place for place in places if place.is_file()][:1]

    @cached_property
    def _table(self) -> Mapping[str, str]:
        """Class of each image id; empty where no table is at hand."""
        found = self.extra_files()
        return _read_table(found[0], self.card.classes) if found else {}

    def _class_of(self, index: int, items: Sequence[Item]) -> str:
        found = {self._table[key] for item in items if (key := Path(item.name).stem) in self._table}
        if len(found) > 1:
            raise DataError(
                f"{self.root / IMAGES}/{index + 1} mixes {' and '.join(sorted(found))}",
                hint="split the images into 1, 2, 3 by their class",
            )
        return found.pop() if found else self.card.classes[index]


def read_class_table(data: bytes, where: str, classes: Sequence[str]) -> dict[str, str]:
    """Class of each image id in a table with the columns ID and Class.

    Args:
        data: of the CSV file.
        where: its name, for messages.
        classes: that are allowed.

    Raises:
        DataError: if it is no such table.
    """
    table: dict[str, str] = {}
    try:
        # utf-8-sig: one of the circulating tables begins with a byte order mark.
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        if not {"ID", "Class"} <= set(reader.fieldnames or ()):
            raise DataError(
                f"{where} is not an ISIC class table: columns ID and Class are expected"
            )
        for row in reader:
            if row["Class"] not in classes:
                raise DataError(
                    f"{where}, line {reader.line_num}: the class of '{row['ID']}' is "
                    f"'{row['Class'] or ''}', not one of {', '.join(classes)}"
                )
            if table.setdefault(row["ID"], row["Class"]) != row["Class"]:
                raise DataError(
                    f"{where}, line {reader.line_num}: '{row['ID']}' is '{row['Class']}' here and "
                    f"'{table[row['ID']]}' above",
                    hint="correct one of the two lines",
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the class table {where} cannot be read ({error})") from error
    return table


def _read_table(path: Path, classes: Sequence[str]) -> dict[str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"the class table {path} cannot be read ({error})") from error
    return read_class_table(data, str(path), classes)
