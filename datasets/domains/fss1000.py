"""FSS-1000: ten images of each of 240 test classes, every image once as the query."""

from __future__ import annotations

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain, listed

_UNLISTED = 1000
"""Id of the first class that no split names: after all published ids, so that no record can take
one class for another."""


class FSS1000(FileDomain):
    """Layout `FSS-1000/CLASS/{1..10}.{jpg,png}` (PATNet `data/fss.py`).

    All 1,000 classes lie side by side; the split decides. A tree without a single class of the
    split (a few folders of one's own) is read as the profile `unlisted`.
    """

    def discover(self) -> Sequence[DomainClass]:
        """The split's classes that are present; supports are drawn from numbers 1, 2, ... 10."""
        base = self.root / "FSS-1000"
        entries = base.iterdir() if base.is_dir() else ()
        folders = sorted(p.name for p in entries if p.is_dir() and not p.name.startswith("."))
        first, names = self._split()
        ids = {name: first + index for index, name in enumerate(names)}
        present = [name for name in folders if name in ids]
        if not present:
            present = [name for name in folders if listed(base / name, "jpg")]
            ids = {name: _UNLISTED + index for index, name in enumerate(present)}
        return [DomainClass(ids[name], name, self._items(name)) for name in present]

    def listed_queries(self) -> Sequence[tuple[int, str]]:
        """Every image of every class; inside a class in string order: 1, 10, 2, 3, ... 9."""
        return [
            (entry.id, name)
            for entry in self.classes
            for name in sorted(item.name for item in entry.items)
        ]

    def describe_part(self) -> str:
        """As for every domain, or `unlisted` for folders that the split does not name."""
        if self.classes[0].id >= _UNLISTED:
            return f"unlisted: {len(self.classes)} classes outside its lists"
        here, names = len(self.classes), self._split()[1]
        if here < len(names):
            return f"partial: {here} of {len(names)} classes"
        return super().describe_part()

    def _split(self) -> tuple[int, Sequence[str]]:
        split = str(self.options["split"])
        if split == "test":
            return self.card.first_class_id, self.card.classes
        other = self.card.other_splits[split]
        return other.first_class_id, other.classes

    def _items(self, name: str) -> tuple[Item, ...]:
        folder = f"FSS-1000/{name}"
        numbers = [
            stem
            for file in listed(self.root / folder, "jpg")
            if (stem := file.removesuffix(".jpg")).isdecimal()
        ]
        items: list[Item] = []
        for number in sorted(numbers, key=int):
            mask = f"{folder}/{number}.png"
            if not (self.root / mask).is_file():
                raise DataError(
                    f"{self.root / folder}/{number}.jpg has no mask {number}.png beside it",
                    hint="complete the class folder, or remove the picture",
                )
            items.append(Item(f"{folder}/{number}.jpg", f"{folder}/{number}.jpg", mask))
        return tuple(items)
