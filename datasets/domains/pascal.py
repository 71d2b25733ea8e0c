"""PASCAL VOC 2012 + SBD, the source domain: (image, class) pairs of the published fold lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain

_FOLDS = 4
_CLASSES_PER_FOLD = 5
_VALIDATION_EPISODES = 1000
_LINE = re.compile(r"(?P<name>[\w.-]+)__(?P<label>\d\d)")


class Pascal(FileDomain):
    """Layout `VOCdevkit/VOC2012/{JPEGImages,SegmentationClassAug}` or `VOC2012/...`.

    Lists `{trn,val}/fold{0..3}.txt` hold lines `NAME__CC`, CC = 01..20 (PATNet `data/pascal.py`).
    Fold 4 is the cross-domain source: the training lists of all four folds, all 20 classes. The
    lists are the user's: in the folder named with `--lists`, or under the data root as
    `splits/pascal` or `lists/pascal`.
    """

    @property
    def void_label(self) -> int:
        """VOC draws a border of undecided pixels around every object."""
        return 255

    def discover(self) -> Sequence[DomainClass]:
        """The classes of the chosen fold and split, with the listed images that are here."""
        items: dict[int, list[Item]] = {}
        for name, class_id in self._pairs:
            item = Item(
                name,
                f"{self._base}/JPEGImages/{name}.jpg",
                f"{self._base}/SegmentationClassAug/{name}.png",
                class_id + 1,
            )
            items.setdefault(class_id, []).append(item)
        return [DomainClass(c, self.card.classes[c], tuple(items[c])) for c in sorted(items)]

    def listed_queries(self) -> Sequence[tuple[int, str]]:
        """Every (class, image) pair, in the order of the lists."""
        return [(class_id, name) for name, class_id in self._pairs]

    @property
    def published_length(self) -> int:
        """Training takes every pair once; validation 1,000 episodes, whatever the list's length."""
        return _VALIDATION_EPISODES if self.options["split"] == "val" else len(self._pairs)

    @cached_property
    def _base(self) -> str:
        for place in ("VOCdevkit/VOC2012", "VOC2012"):
            if (self.root / place / "JPEGImages").is_dir():
                return place
        raise self.nothing_found()

    @cached_property
    def _pairs(self) -> list[tuple[str, int]]:
        """(image id, class id) of every listed pair whose two files are here."""
        pictures = _stems(self.root / self._base / "JPEGImages", ".jpg")
        folder = self.root / self._base / "SegmentationClassAug"
        if not folder.is_dir():
            raise DataError(f"{folder} is missing: PASCAL VOC needs the masks of VOC and SBD")
        here = pictures & _stems(folder, ".png")
        return [
            (name, class_id)
            for name, class_id in self._listed()
            if name in here and self.is_asked(name)
        ]

    def extra_files(self) -> Sequence[Path]:
        """The fold lists that the options choose."""
        return [path for path, _ in self._list_files()]

    def _listed(self) -> Iterator[tuple[str, int]]:
        for path, fold in self._list_files():
            yield from _read_list(path, fold)

    def _list_files(self) -> list[tuple[Path, int]]:
        """(list, fold) of each list that is read, in order."""
        fold, split = int(self.options["fold"]), str(self.options["split"])
        if fold == _FOLDS and split == "val":
            raise DataError(
                "fold 4 of PASCAL VOC has no validation classes: all 20 are trained on",
                hint="use pascal[fold=0,split=val], or another fold from 0 to 3",
            )
        folds = [fold] if split == "val" else [other for other in range(_FOLDS) if other != fold]
        return [(self._lists / split / f"fold{chosen}.txt", chosen) for chosen in folds]

    @cached_property
    def _lists(self) -> Path:
        places = [self.root / "splits" / "pascal", self.root / "lists" / "pascal"]
        if self.lists is not None:
            places = [self.lists / "pascal", self.lists]
        for place in places:
            if (place / "trn" / "fold0.txt").is_file():
                return place
        raise DataError(
            f"the PASCAL fold lists are not in {' or '.join(str(p) for p in places)}",
            hint="name their folder with --lists DIR (it holds trn/fold0.txt and val/fold0.txt)",
        )


def _stems(folder: Path, suffix: str) -> set[str]:
    return {path.stem for path in folder.iterdir() if path.suffix == suffix}


def _read_list(path: Path, fold: int) -> Iterator[tuple[str, int]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"the PASCAL list {path} cannot be read ({reason})") from error
    allowed = range(fold * _CLASSES_PER_FOLD, (fold + 1) * _CLASSES_PER_FOLD)
    seen: set[str] = set()
    for line in lines:
        if line in seen:
            raise DataError(f"{path} names '{line}' twice", hint="remove one of the two lines")
        seen.add(line)
        match = _LINE.fullmatch(line)
        if match is None or int(match["label"]) - 1 not in allowed:
            raise DataError(
                f"{path}: '{line}' is not NAME__CC with a class of fold {fold} "
                f"({allowed[0] + 1:02d} to {allowed[-1] + 1:02d})"
            )
        yield match["name"], int(match["label"]) - 1
