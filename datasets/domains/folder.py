"""Your own images: a folder per class for images, the same for masks, nothing to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cdfss_bench.errors import DataError
from cdfss_bench.options import spelled

from ..core.decode_cache import Pixels
from ..core.domain import DomainClass, Item
from ..core.masks import options as mask_options
from ..core.masks.decoding import decide, refuse_constant
from ..core.masks.facts import Facts
from ..core.masks.geometry import Drawn, turn_of
from ..core.masks.pairing import composed, files_in, folders_in, loose_pictures, pairs_of
from ..core.masks.reading import Reading, decode
from ..core.masks.survey import Survey, survey
from ..core.own_domain import OwnDomain
from ..core.transforms import resized_labels
from ..core.upright import turned

_ONE_CLASS = "object"
"""What the class of a flat folder is called for which no classes are named."""


@dataclass(frozen=True)
class _Mask:
    """How one mask is read."""

    facts: Facts
    reading: Reading
    turn: int


class FolderDomain(OwnDomain):
    """Own pictures, each with a mask file; the card has the layouts and options.

    `layout=folders`: `images/CLASS/NAME.jpg`, `masks/CLASS/NAME.png`; classes are the folders, in
    the order of their names. `layout=flat`: `images/NAME.jpg`, `masks/NAME.png`; classes are named
    by `labels=` or `colors=`, in their order, and an image stands in each class its mask shows.
    Every image of every class is asked once. What masks mean is `mask_decoding`'s to decide.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The classes, after every mask was looked at.

        Raises:
            DataError: if pictures and masks do not pair, a file is unreadable, or the masks of a
                class have no one meaning.
        """
        self._masks: dict[str, _Mask] = {}
        self._void: int | None = None
        top = self.root / self._base
        options = mask_options.parse(self.options)
        flat = self.options.get("layout") == "flat"
        folders = self._flat(top) if flat else self._class_folders(top)
        if not folders:
            return []
        whole = survey(
            [pair for pairs in folders.values() for pair in pairs], top, self.cache.folder
        )
        if transparent := sum(header.transparent for header in whole.pictures.values()):
            self.notes[f"pictures with an alpha channel, laid on white: {transparent}"] = None
        found: list[tuple[str, list[Item]]] = []
        names = [*options.of_class] if flat else [*folders]
        if flat and (options.spans or not names):
            names.append(_ONE_CLASS)
        options.refuse_unknown(names)
        for folder, pairs in folders.items():
            here = names if flat else [folder]
            facts = {mask: whole.masks[mask] for _, mask in pairs}
            turns = self._turns(pairs, whole)
            reading = decide(facts, here, options, self._typed)
            for mask, turn in turns.items():
                self._masks[self._inside(mask)] = _Mask(facts[mask], reading, turn)
            if reading.note:
                self.notes[reading.note] = None
            for number, name in enumerate(here, 1):
                refuse_constant(facts, reading, number, name, self._typed)
                shown = [p for p in pairs if not flat or number in reading.numbers(facts[p[1]])]
                found.append((name, [self._item(*pair, number) for pair in shown]))
            if flat and (bare := sum(not {*reading.numbers(f)} - {0, 255} for f in facts.values())):
                self.notes[f"masks without an object, whose pictures are in no class: {bare}"] = (
                    None
                )
        self._note_readings()
        if void := sum(255 in m.reading.numbers(m.facts) for m in self._masks.values()):
            self._void = 255
            self.notes[f"masks with undecided pixels, which are left out of the count: {void}"] = (
                None
            )
        first = self.card.first_class_id
        return [DomainClass(first + n, name, tuple(items)) for n, (name, items) in enumerate(found)]

    @property
    def void_label(self) -> int | None:
        """255 if any mask has undecided pixels."""
        _ = self.classes
        return self._void

    def read_labels(self, item: Item) -> Pixels:
        """The mask of `item`, [S, S]: its class's number, 0, and 255 where it is undecided.

        Raises:
            DataError: if the file is missing, unreadable, or was changed meanwhile.
        """
        _ = self.classes
        mask, path = self._masks[item.mask], self.root / item.mask

        def read() -> Pixels:
            labels = turned(decode(path, mask.facts, mask.reading), mask.turn)
            height, width = labels.shape
            return Pixels(resized_labels(labels, self.card.image_size), (width, height))

        return self.cached(item.mask, f"own mask {mask.reading.key} {mask.turn}", read)

    def grey_values(self, item: Item) -> int:
        """None: what a mask holds was decided when it was found."""
        del item
        return 0

    @property
    def _base(self) -> str:
        return str(self.options.get("path", ".")).rstrip("/") or "."

    def _typed(self, change: str) -> str:
        """What to type for another option, `-d 'folder[path=mugs,labels=1]'`."""
        new = dict(word.split("=", 1) for word in change.split(","))
        changed = {
            name: spelled(known)
            for name, known in self.options.items()
            if known != self.card.options[name].default
        }
        if {"labels", "colors"} & new.keys():
            changed = {n: v for n, v in changed.items() if n not in ("labels", "colors")}
        words = ",".join(f"{name}={word}" for name, word in {**changed, **new}.items())
        absent = [name for name in new if name not in self.card.options]
        undeclared = f" (with {' and '.join(absent)} declared in its card)" if absent else ""
        return f"-d '{self.card.name}[{words}]'{undeclared}"

    def _class_folders(self, top: Path) -> dict[str, list[tuple[Path, Path]]]:
        images, masks = folders_in(top / "images"), folders_in(top / "masks")
        for place in (top / "images", top / "masks"):
            if loose := loose_pictures(place):
                raise DataError(
                    f"{loose[0]} lies in no class folder",
                    hint=f"move it into {place.name}/CLASS, or, if all files lie in one folder, "
                    f"say so: {self._typed('layout=flat')}",
                )
        for name, folder in masks.items():
            if name not in images and files_in(folder):
                raise DataError(
                    f"{folder} holds masks of a class that {top / 'images'} does not have",
                    hint="give both folders one name, or move the masks away",
                )
        pairs = {
            name: pairs_of(folder, masks.get(name, top / "masks" / folder.name))
            for name, folder in images.items()
        }
        for name in [name for name, found in pairs.items() if not found]:
            self.notes[f"{images[name]} holds no picture and is no class"] = None
        return {name: found for name, found in pairs.items() if found}

    def _flat(self, top: Path) -> dict[str, list[tuple[Path, Path]]]:
        pairs = pairs_of(top / "images", top / "masks")
        return {"": pairs} if pairs else {}

    def _turns(self, pairs: Sequence[tuple[Path, Path]], whole: Survey) -> dict[Path, int]:
        drawn = cast("Drawn", self.options.get("orientation", "auto"))
        return {
            mask: turn_of(image, whole.pictures[image], mask, whole.masks[mask], drawn, self._typed)
            for image, mask in pairs
        }

    def _note_readings(self) -> None:
        """What a reader of the numbers must know of how the masks were read."""
        objects: dict[str, None] = {}
        for mask in self._masks.values():
            objects[mask.reading.described] = None
        empty = sum(not m.reading.numbers(m.facts) - {0, 255} for m in self._masks.values())
        many = len(self._masks)
        self.notes[
            f"masks: {' or '.join(objects)} is the object, "
            f"{empty or 'none'} of {many} {'is' if empty < 2 else 'are'} empty"
        ] = None

    def _item(self, image: Path, mask: Path, label: int) -> Item:
        path = self._inside(image)
        return Item(composed(path), path, self._inside(mask), label)

    def _inside(self, path: Path) -> str:
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return inside.as_posix()
