"""FSS-1000: class folders of ten pairs, with the known defects kept or corrected."""

import io
from collections.abc import Iterable, Set
from functools import partial

import numpy as np
from PIL import Image

from cdfss_bench.errors import DataError

from ..core.transforms import nearest_indices
from .pictures import decoded, size_of
from .plan import Made, Plan, Unit, sha256_of
from .recipe import PICTURES, Recipe, unused
from .sources import Entry, Source

_NUMBERS = [str(number) for number in range(1, 11)]
_LEAST_EXTREME = 0.5
"""The share of pixels near black or white below which a file is a photograph, not a mask."""

Folder = dict[str, Entry]


class FSS1000Recipe(Recipe):
    """`.../CLASS/{1..10}.{jpg,png}` -> `FSS-1000/CLASS/...`.

    `defects=keep` copies every file as it is, which is what published numbers were computed on.
    `defects=repair` takes `N.jpeg` for a missing `N.jpg` and brings a mask of another size to the
    size of its image by the nearest rule. A mask that is a photograph cannot be corrected: nobody
    published the right one.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per class."""
        plan = Plan("FSS-1000", self.identity)
        splits = [self.card.classes, *(split.classes for split in self.card.other_splits.values())]
        published = {name for names in splits for name in names}
        folders = _folders(source, plan)
        if not folders:
            raise self.nothing_found("class folder with 1.jpg and 1.png", source)
        for name, files in sorted(folders.items()):
            inputs = tuple(files[key] for key in sorted(files))
            plan.units.append(Unit(name, inputs, partial(self._class, name, files)))
        here = len(published & folders.keys())
        if here < len(published):
            plan.remarks.append(f"{here} of the {len(published)} published classes are here")
        if others := sorted(folders.keys() - published):
            plan.remarks.append(
                f"{len(others)} folders are no published class and are kept: {_some(others)}"
            )
        plan.problems += _classes_in_other_files(source, published - folders.keys())
        used = [entry for files in folders.values() for entry in files.values()]
        unused(plan, source, used, known=(".txt", ".md", ".csv"))
        return plan

    def _class(self, name: str, files: Folder) -> Made:
        made = Made()
        repair = self.options["defects"] == "repair"
        for number in _NUMBERS:
            image, mask = files.get(f"{number}.jpg"), files.get(f"{number}.png")
            stray = files.get(f"{number}.jpeg")
            if image is None and stray is not None and repair:
                image = stray
                made.odd.append(f"{name}: {number}.jpeg is taken for the missing {number}.jpg")
            elif stray is not None:
                what = "beside" if image is not None else "in place of"
                made.odd.append(f"{name}: stray {number}.jpeg {what} {number}.jpg is left out")
            if image is None or mask is None:
                lacking = [f"{number}{s}" for s, e in ((".jpg", image), (".png", mask)) if not e]
                made.odd.append(
                    f"{name}: {' and '.join(lacking)} is missing; the published loader, which "
                    "draws 1 to 10, fails on this class"
                )
                continue
            self._pair(made, name, number, image, mask)
        if not made.files:
            here = _some(sorted(entry.origin for entry in files.values()))
            raise DataError(f"class {name} has no pair 1.jpg, 1.png to 10.jpg, 10.png: {here}")
        made.counts["classes"] = 1
        return made

    def _pair(self, made: Made, name: str, number: str, image: Entry, mask: Entry) -> None:
        data = image.read()
        size = size_of(data, image.origin)
        truth = decoded(mask, "L")
        where = f"FSS-1000/{name}/{number}"
        made.files[f"{where}.jpg"] = image
        made.files[f"{where}.png"] = mask
        made.looks[f"{name}/{number}.jpg"] = sha256_of(data)
        made.counts["pairs"] += 1
        if ((truth < 32) | (truth > 223)).mean() < _LEAST_EXTREME:
            made.odd.append(
                f"{name}/{number}.png is a photograph in place of a mask; nobody published the "
                "right one, so it is kept"
            )
        if (truth.shape[1], truth.shape[0]) == size:
            return
        how = "is kept"
        if self.options["defects"] == "repair":
            rows, columns = (
                nearest_indices(truth.shape[0], size[1]),
                nearest_indices(truth.shape[1], size[0]),
            )
            out = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(truth[np.ix_(rows, columns)])).save(out, "PNG")
            made.files[f"{where}.png"] = out.getvalue()
            how = "is brought to that size"
        made.odd.append(
            f"{name}/{number}.png is {truth.shape[1]}x{truth.shape[0]}, its image "
            f"{size[0]}x{size[1]}: it {how}"
        )


def _folders(source: Source, plan: Plan) -> dict[str, Folder]:
    """Files of each class folder, whatever lies above it in the download."""
    found: dict[str, Folder] = {}
    homes: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for entry in source.entries:
        stem, name = entry.stem, entry.folder
        if stem not in _NUMBERS or entry.suffix not in (".jpg", ".jpeg", ".png") or not name:
            continue
        home = entry.path.rpartition("/")[0]
        if homes.setdefault(name, home) != home:
            repeated[name] = home
            continue
        files = found.setdefault(name, {})
        if files.setdefault(entry.plain_name, entry) is not entry:
            plan.problems.append(
                f"{entry.origin} and {files[entry.plain_name].name} have one published name"
            )
    if repeated:
        name, home = next(iter(repeated.items()))
        plan.remarks.append(
            f"{len(repeated)} class folders are there twice; for example {home} is left out, "
            f"{homes[name]} is taken"
        )
    return found


def _classes_in_other_files(source: Source, absent: Set[str]) -> list[str]:
    """A problem for each published class whose folder holds pictures, but none of ours."""
    odd: dict[str, Entry] = {}
    for entry in source.entries:
        if entry.folder in absent and entry.suffix in PICTURES:
            odd.setdefault(entry.folder, entry)
    return [
        f"class {name} is not called 1 to 10 with .jpg and .png, but {entry.origin}"
        for name, entry in sorted(odd.items())
    ]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")
