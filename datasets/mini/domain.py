"""The mini suite's domains: pictures that are computed instead of read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cdfss_bench.canonical import digest

from .. import mini
from ..core.decode_cache import Pixels
from ..core.domain import Domain, DomainClass, Item


class ProceduralDomain(Domain):
    """A domain of `datasets.mini`: the card's name says which.

    Items are named `lesion/nevus/007`; the same name gives the same bytes on every machine.
    """

    @property
    def void_label(self) -> int | None:
        """255 around the source's objects, as in PASCAL VOC; the targets have none."""
        return 255 if self.card.role == "source" else None

    def discover(self) -> Sequence[DomainClass]:
        """All classes; nothing is drawn yet."""
        domain = mini.DOMAINS[self.card.name]
        return [
            DomainClass(
                self.card.first_class_id + index,
                name,
                tuple(Item(n, n, n, index + 1) for n in names if self.is_asked(n)),
            )
            for index, (name, names) in enumerate(zip(domain.classes, domain.pictures, strict=True))
        ]

    def listed_queries(self) -> Sequence[tuple[int, str]] | None:
        """Every (class, picture) pair where the card says `listed`."""
        if self.card.sampling == "cycle":
            return None
        return [(entry.id, item.name) for entry in self.classes for item in entry.items]

    def read_image(self, path: str) -> Pixels:
        """The drawn picture, uint8 [S, S, 3]."""
        return self._drawn(path, "image")

    def read_labels(self, item: Item) -> Pixels:
        """The label map, uint8 [S, S]: class index + 1, 0 elsewhere."""
        return self._drawn(item.mask, "labels")

    def content_hash(self, *, again: bool = False) -> str:
        """The suite's version stands for every picture: any changed byte bumps it."""
        del again
        version = mini.VERSION
        items = [(entry.id, item) for entry in self.classes for item in entry.items]
        rows = [[c, item.name, item.label, version, version] for c, item in items]
        return digest({"domain": self.title, "files": sorted(rows)})

    def _drawn(self, name: str, kind: str) -> Pixels:
        def draw() -> Pixels:
            picture = _draw(self.card.name, name)
            array = picture.image if kind == "image" else picture.labels
            return Pixels(np.ascontiguousarray(array), (array.shape[1], array.shape[0]))

        return self.cache.get(digest({"mini": mini.VERSION, "name": name, "kind": kind}), draw)


@lru_cache(maxsize=16)
def _draw(domain: str, name: str) -> mini.Picture:
    # A picture's image and labels are asked one after the other.
    return mini.DOMAINS[domain].draw(name)
