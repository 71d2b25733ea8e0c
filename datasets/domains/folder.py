"""Your own images, each with a mask file, in whichever folders they lie; nothing to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError
from cdfss_bench.options import spelled

from ..core import medical
from ..core.decode_cache import Pixels
from ..core.domain import DomainClass, Item
from ..core.masks import options as mask_options
from ..core.masks.decoding import decide, refuse_constant
from ..core.masks.facts import Facts, Look, look_at
from ..core.masks.geometry import Drawn, turn_of
from ..core.masks.label_names import LabelNames, read_names, with_each
from ..core.masks.layouts import Found, Sample, find
from ..core.masks.options import VOID
from ..core.masks.pairing import composed
from ..core.masks.reading import Reading, decode
from ..core.masks.survey import Survey, survey
from ..core.medical_files import VOLUMES, file_of, is_medical, is_slice, reader_version, suffix_of
from ..core.own_domain import OwnDomain, header_at, picture_at
from ..core.transforms import resized_image, resized_labels
from ..core.upright import turned
from ..core.volumes import compare_volumes, slices_of
from ..core.windows import Window, window_of
from .suim import RAW_COLOURS

_ONE_CLASS = "object"
"""What the class of a layout without class folders is called for which no classes are named."""


@dataclass(frozen=True)
class _Mask:
    """How one mask is read."""

    facts: Facts
    reading: Reading
    turn: int


class FolderDomain(OwnDomain):
    """Own pictures, each with a mask; the card has the layouts and options.

    Where masks lie in class folders, classes are the folders, in the order of their names. In all
    other layouts they are named by `labels=`, `colors=` or a file of names, in the order of these,
    and an image stands in each class its mask shows. Every image of every class is asked once. What
    masks mean is `mask_decoding`'s to decide. Volumes are read slice by slice.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The classes, after every mask was looked at."""
        self._masks: dict[str, _Mask] = {}
        self._masks_of: dict[str, tuple[str, ...]] = {}
        self._scenes: dict[str, str] = {}
        self._void: int | None = None
        top = self.root / self._base
        options = mask_options.parse(self.options)
        found = find(
            top,
            str(self.options.get("layout", "auto")),
            str(self.options.get("images", "")),
            str(self.options.get("masks", "")),
            self._typed,
        )
        for folder in found.empty:
            self.note(f"{folder} holds no picture and is no class")
        samples = {name: self._sliced(some) for name, some in found.samples.items() if some}
        if not samples:
            return []
        whole = survey(
            [(s.image, mask) for some in samples.values() for s in some for mask in s.masks],
            top,
            self.cache.folder,
            header_of=header_at,
            look_at=_look_at,
            file_of=file_of,
        )
        if transparent := sum(header.transparent for header in whole.pictures.values()):
            self.note(f"pictures with an alpha channel, laid on white: {transparent}")
        if "" in samples:
            self._refuse_raw_suim(top, options, whole)
            options = with_each(options, [*whole.masks.values()], self._names)
        else:
            options.refuse_unknown(samples)
        classes = [
            entry
            for folder, some in samples.items()
            for entry in self._classes_in(folder, some, options, whole)
        ]
        self._note(found, whole)
        first = self.card.first_class_id
        return [DomainClass(first + n, name, tuple(i)) for n, (name, i) in enumerate(classes)]

    def _classes_in(
        self,
        folder: str,
        samples: Sequence[Sample],
        options: mask_options.MaskOptions,
        whole: Survey,
    ) -> list[tuple[str, list[Item]]]:
        """The classes whose masks lie in a folder, or in all where it is ""."""
        names = [folder] if folder else [*options.of_class]
        if not folder and (options.spans or not names):
            names.append(_ONE_CLASS)
        facts = {mask: whole.masks[mask] for sample in samples for mask in sample.masks}
        turns = self._turns(samples, whole)
        reading = decide(facts, names, options, self._typed, classes=not folder)
        if reading.note:
            self.note(reading.note)
        for sample in samples:
            self._take(sample, facts, reading, turns)
        held = {
            sample: set[int]().union(*(reading.numbers(facts[mask]) for mask in sample.masks))
            for sample in samples
        }
        classes: list[tuple[str, list[Item]]] = []
        for number, name in enumerate(names, 1):
            refuse_constant(facts, reading, number, name, self._typed)
            keeps_all = folder and not any(is_slice(s.image) for s in samples)
            shown = [s for s in samples if keeps_all or number in held[s]]
            classes.append((name, [self._item(sample, number) for sample in shown]))
        if bare := sum(not numbers - {0, VOID} for numbers in held.values()):
            slices = any(is_slice(sample.image) for sample in samples)
            what = "slices" if slices else "masks"
            if slices or not folder:
                self.note(f"{what} without an object, whose pictures are in no class: {bare}")
        return classes

    @property
    def void_label(self) -> int | None:
        """255 if any mask has undecided pixels."""
        _ = self.classes
        return self._void

    def scene(self, name: str) -> str:
        """The volume of a slice, the series of a DICOM file, or the folder of a group."""
        return self._scenes.get(name, name)

    @property
    def keeps_scenes_apart(self) -> bool:
        """Whether several pictures come from one volume, series or group."""
        _ = self.classes
        return len({*self._scenes.values()}) < len(self._scenes)

    def item_files(self, item: Item) -> Sequence[str]:
        """The files of the picture and of all its masks; of a slice, its volume."""
        _ = self.classes
        return tuple(dict.fromkeys(map(self._file, (item.image, *self._masks_of[item.mask]))))

    def extra_files(self) -> Sequence[Path]:
        """The file of names, if there is one."""
        return () if self._names.path is None else (self._names.path,)

    def read_image(self, path: str) -> Pixels:
        """The picture at `path` as a viewer shows it, uint8 [S, S, 3]."""
        full = self.root / path
        if not is_medical(full):
            return super().read_image(path)
        window = self._window

        def read() -> Pixels:
            picture = picture_at(full, window)
            return Pixels(resized_image(picture, self.card.image_size), picture.size)

        kind = f"medical {_place(full)} {window!r} {reader_version(full)}"
        return self.cached(self._file(path), kind, read)

    def read_labels(self, item: Item) -> Pixels:
        """The masks of `item`, [S, S]: its class's number, 0, and 255 where it is undecided."""
        _ = self.classes
        paths = self._masks_of[item.mask]
        masks = [self._masks[path] for path in paths]

        def read() -> Pixels:
            labels = _united([self._decoded(path) for path in paths])
            height, width = labels.shape
            return Pixels(resized_labels(labels, self.card.image_size), (width, height))

        how = " ".join(f"{mask.reading.key} {mask.turn}" for mask in masks)
        slices = [_place(self.root / p) for p in paths if is_slice(self.root / p)]
        files = tuple(map(self._file, paths))
        return self.cached(
            files[0] if len(files) == 1 else files,
            f"own mask {how}" + (f" {slices}" if slices else ""),
            read,
        )

    def grey_values(self, item: Item) -> int:
        """None: what a mask holds was decided when it was found."""
        del item
        return 0

    @cached_property
    def _window(self) -> Window:
        return window_of(str(self.options.get("window", "auto")))

    @cached_property
    def _names(self) -> LabelNames:
        return read_names(self.root / self._base, str(self.options.get("names", "")))

    @property
    def _base(self) -> str:
        return str(self.options.get("path", ".")).rstrip("/") or "."

    def _typed(self, change: str) -> str:
        """What to type for another option, `-d 'folder[path=mugs,labels=1]'`."""
        new = dict(word.split("=", 1) for word in change.split(","))
        changed = {
            name: spelled(known)
            for name, known in {**self.options, **self.absolute}.items()
            if known != self.card.options[name].default
        }
        if {"labels", "colors"} & new.keys():
            changed = {n: v for n, v in changed.items() if n not in ("labels", "colors")}
        words = ",".join(f"{name}={word}" for name, word in {**changed, **new}.items())
        absent = [name for name in new if name not in self.card.options]
        undeclared = f" (with {' and '.join(absent)} declared in its card)" if absent else ""
        return f"-d '{self.card.name}[{words}]'{undeclared}"

    def _sliced(self, samples: Iterable[Sample]) -> list[Sample]:
        """The samples with every volume in place of which its slices stand."""
        found: list[Sample] = []
        plane = str(self.options.get("plane", "axial"))
        for sample in samples:
            kinds = {suffix_of(path) in VOLUMES for path in (sample.image, *sample.masks)}
            if kinds == {True, False}:
                raise DataError(
                    f"{sample.image} and {sample.masks[0]} are not both volumes",
                    hint="save image and labels as NIfTI, or both slice by slice",
                )
            if kinds == {False}:
                found.append(sample)
                continue
            for mask in sample.masks:
                compare_volumes(sample.image, mask)
            masks = [slices_of(mask, plane) for mask in sample.masks]
            found += [
                replace(sample, image=image, masks=tuple(labels))
                for image, *labels in zip(slices_of(sample.image, plane), *masks, strict=True)
            ]
        return found

    def _turns(self, samples: Iterable[Sample], whole: Survey) -> dict[Path, int]:
        """The EXIF orientation by which each mask becomes upright."""
        drawn = cast("Drawn", self.options.get("orientation", "auto"))
        pictures, masks = whole.pictures, whole.masks
        return {
            mask: turn_of(s.image, pictures[s.image], mask, masks[mask], drawn, self._typed)
            for s in samples
            for mask in s.masks
        }

    def _take(
        self,
        sample: Sample,
        facts: Mapping[Path, Facts],
        reading: Reading,
        turns: Mapping[Path, int],
    ) -> None:
        """Remembers how the masks of a sample are read, and what it belongs to."""
        inside = tuple(map(self._inside, sample.masks))
        for path, mask in zip(inside, sample.masks, strict=True):
            self._masks[path] = _Mask(facts[mask], reading, turns[mask])
            if VOID in reading.numbers(facts[mask]):
                self._void = VOID
        self._masks_of[inside[0]] = inside
        if scene := sample.group or medical.scene_of(sample.image):
            self._scenes[self._item(sample, 0).name] = composed(scene)

    def _decoded(self, path: str) -> NDArray[np.uint8]:
        mask = self._masks[path]
        labels = decode(self.root / path, mask.facts, mask.reading, _look_at)
        return turned(labels, mask.turn)

    def _refuse_raw_suim(self, top: Path, options: mask_options.MaskOptions, whole: Survey) -> None:
        """Names the command that prepares SUIM where its download lies here as it is."""
        if options.by or self._names.path is not None:
            return
        held = [{*facts.shown} for facts in whole.masks.values()]
        if len(set[int]().union(*held)) > 3 and all(values <= RAW_COLOURS for values in held):
            raise DataError(
                f"{top} is the raw form of SUIM: colour-coded masks, a colour per class",
                hint=f"cdfss-bench data prepare suim --from '{top}' --data-root NEW_DIR, then "
                "-d suim --data-root NEW_DIR; if it is another data set, name its classes: "
                + self._typed("colors=each"),
            )

    def _note(self, found: Found, whole: Survey) -> None:
        """What a reader of the numbers must know of how files were read."""
        objects: dict[str, None] = {}
        for mask in self._masks.values():
            objects[mask.reading.described] = None
        empty = sum(not m.reading.numbers(m.facts) - {0, VOID} for m in self._masks.values())
        many = len(self._masks)
        self.note(
            f"masks: {' or '.join(objects)} is the object, "
            f"{empty or 'none'} of {many} {'is' if empty < 2 else 'are'} empty"
        )
        if void := sum(VOID in m.reading.numbers(m.facts) for m in self._masks.values()):
            self.note(f"masks with undecided pixels, which are left out of the count: {void}")
        if self._names.path is not None:
            self.note(f"names of labels from {self._names.path.name}")
        read = [image for image in whole.pictures if is_medical(image)]
        if read:
            dicom = not all(map(is_slice, read))
            self.note(f"black to white: {self._window.described(dicom=dicom)}")
        slices = sum(is_slice(image) for image in whole.pictures)
        if slices:
            volumes = len({image.parent for image in whole.pictures if is_slice(image)})
            plane = self.options.get("plane", "axial")
            self.note(f"{slices} {plane} slices of {volumes} volumes")
        if len({*self._scenes.values()}) < len(self._scenes):
            kind = "volume or series" if found.layout != "groups" else "group"
            self.note(
                f"no support is of the {kind} of its query; intervals take the pictures of one "
                f"{kind} for independent, which they are not"
            )

    def _item(self, sample: Sample, label: int) -> Item:
        path = self._inside(sample.image)
        return Item(composed(path), path, self._inside(sample.masks[0]), label)

    def _file(self, path: str) -> str:
        return self._inside(file_of(self.root / path))

    def _inside(self, path: Path) -> str:
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return inside.as_posix()


def _look_at(path: Path) -> Look:
    if not is_medical(path):
        return look_at(path)
    labels = medical.labels_of(path)
    height, width = labels.shape
    values = tuple(int(value) for value in np.unique(labels))
    return Look(Facts((width, height), 1, "grey", 16, values), labels, None)


def _place(path: Path) -> str:
    return path.name if is_slice(path) else ""


def _united(masks: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The union of masks [H, W]; undecided where one is undecided and none shows an object."""
    union = np.max([np.where(mask == VOID, 0, mask) for mask in masks], axis=0)
    undecided = np.any([mask == VOID for mask in masks], axis=0)
    return np.where(undecided & (union == 0), VOID, union).astype(np.uint8)
