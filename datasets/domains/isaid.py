"""iSAID-5i: 256-pixel patches of aerial images, 15 classes in three folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from cdfss_bench.errors import DataError

from ..core.coded_domain import CodedDomain, Codes
from ..core.domain import DomainClass, Item
from ..core.masks.pairing import files_in

ENDING = "_instance_color_RGB"
IMAGES, MASKS = "images", "semantic_png"
ALL = 3
"""The fold that stands for all 15 classes."""

_PER_FOLD = 5
_LINE = re.compile(r"(?P<name>[\w.-]+)__(?P<label>\d\d?)")
_COLOURS = (
    0x00003F, 0x003F3F, 0x003F00, 0x003F7F, 0x003FBF, 0x003FFF, 0x007F3F, 0x007F7F,
    0x00007F, 0x0000BF, 0x0000FF, 0x00BF7F, 0x007FBF, 0x007FFF, 0x00649B,
)  # fmt: skip
"""RGB of iSAID's colour maps, in the order of the classes."""


class ISAID(CodedDomain):
    """Layout `iSAID/val/{images/NAME.png,semantic_png/NAME_instance_color_RGB.png}`.

    Masks hold the class index 1 to 15, or iSAID's colours; 255 is undecided. Fold f has the classes
    5f+1 to 5f+5. Where the published lists `val/fold{0,1,2}.txt` of lines `NAME__CC` are at hand,
    a patch stands in the classes under which it is listed, else in each class that its mask shows.
    """

    codes = Codes(
        values=tuple((n, n) for n in range(1, len(_COLOURS) + 1)),
        colours=tuple((colour, n) for n, colour in enumerate(_COLOURS, 1)),
        undecided=(255,),
    )

    def discover(self) -> Sequence[DomainClass]:
        """The classes of the fold, with the patches that show them."""
        masks = {file.stem.removesuffix(ENDING): file.name for file in files_in(self._base / MASKS)}
        pairs: dict[str, tuple[str, str]] = {}
        for file in files_in(self._base / IMAGES):
            if file.stem not in masks:
                raise DataError(
                    f"{file} has no mask {file.stem}{ENDING}.png in {self._base / MASKS}",
                    hint="complete the folder, or remove the patch",
                )
            pairs[file.stem] = (
                self._inside(IMAGES, file.name),
                self._inside(MASKS, masks[file.stem]),
            )
        if lonely := sorted(masks.keys() - pairs.keys()):
            raise DataError(
                f"{self._base / MASKS / masks[lonely[0]]} belongs to no patch in "
                f"{self._base / IMAGES}",
                hint="complete the folder, or remove the mask",
            )
        shown = self.numbers_in([*pairs.values()], "iSAID")
        members: dict[int, list[str]] = {}
        for name, number in (
            self._listed(pairs)
            if self.extra_files()
            else ((name, number) for name, (_, mask) in pairs.items() for number in shown[mask])
        ):
            members.setdefault(number, []).append(name)
        if not self.extra_files():
            self.note("no fold lists of iSAID-5i: a patch stands in each class it shows")
        return [
            DomainClass(
                number - 1,
                self.card.classes[number - 1],
                tuple(Item(name, *pairs[name], number) for name in sorted(members.get(number, ()))),
            )
            for number in self._numbers
        ]

    def extra_files(self) -> Sequence[Path]:
        """The fold lists, where all that are needed are at hand."""
        fold = int(self.options["fold"])
        folds = range(ALL) if fold == ALL else [fold]
        places = [self.root / place for place in ("iSAID/splits", "splits/isaid", "lists/isaid")]
        if self.lists is not None:
            places = [self.lists / "isaid", *places]
        for place in places:
            files = [place / "val" / f"fold{number}.txt" for number in folds]
            if all(file.is_file() for file in files):
                return files
        return ()

    def scene(self, name: str) -> str:
        """The aerial image that the patch was cut from: `P0003` of `P0003_0_256_0_256`."""
        return name.partition("_")[0]

    @property
    def _numbers(self) -> range:
        fold = int(self.options["fold"])
        if fold == ALL:
            return range(1, len(_COLOURS) + 1)
        return range(fold * _PER_FOLD + 1, (fold + 1) * _PER_FOLD + 1)

    @cached_property
    def _base(self) -> Path:
        for place in ("iSAID/val", "iSAID/iSAID_patches/val"):
            if (self.root / place / IMAGES).is_dir():
                return self.root / place
        raise self.nothing_found()

    def _inside(self, folder: str, name: str) -> str:
        return (self._base / folder / name).relative_to(self.root).as_posix()

    def _listed(self, pairs: dict[str, tuple[str, str]]) -> list[tuple[str, int]]:
        found: dict[tuple[str, int], None] = {}
        for path in self.extra_files():
            try:
                lines = path.read_text(encoding="utf-8-sig").split()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"the list {path} cannot be read ({error})") from error
            fold = int(path.stem.removeprefix("fold"))
            for line in lines:
                match = _LINE.fullmatch(line)
                number = int(match["label"]) if match else 0
                if match is None or (number - 1) // _PER_FOLD != fold or not number:
                    raise DataError(
                        f"{path}: '{line}' is not NAME__CC with a class of fold {fold} "
                        f"({fold * _PER_FOLD + 1:02d} to {(fold + 1) * _PER_FOLD:02d})",
                        hint="take the published list of that fold",
                    )
                if match["name"] not in pairs:
                    raise DataError(
                        f"{path} lists {match['name']}, which is no patch in {self._base / IMAGES}",
                        hint="complete the folder, or remove the lists to take what the masks show",
                    )
                found[match["name"], number] = None
        return list(found)
