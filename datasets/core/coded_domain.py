"""Published domains whose mask values have one known meaning each; any other value is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

from .decode_cache import Pixels
from .domain import Item
from .file_domain import FileDomain
from .masks.facts import Doubt, Facts, seen, spelled
from .masks.options import VOID
from .masks.reading import Reading, decode
from .masks.survey import survey
from .transforms import resized_labels

WHITE = 0xFFFFFF

_DOUBTS: dict[Doubt, str] = {
    "palette": "has a palette whose order is not that of the classes",
    "many": "holds too many values for a mask: it is a photograph or a smoothed picture",
    "fractions": "holds fractions, which are no mask",
    "lossy": "is a lossy file whose grey values do not lie near black and white",
    "lossy colours": "is a JPEG in colours, which compression has changed",
}


@dataclass(frozen=True)
class Codes:
    """What the values of a domain's masks mean; 0 and black are background.

    Attributes:
        values: (grey value or index of a palette, number of the class).
        colours: (colour in 24 bits, number of the class), for masks in colours.
        undecided: values of undecided pixels.
    """

    values: tuple[tuple[int, int], ...]
    colours: tuple[tuple[int, int], ...] = ()
    undecided: tuple[int, ...] = ()

    def reading(self, facts: Facts) -> Reading:
        """How a mask is read: by its colours if it has any that are known, else by its values."""
        shown = {seen(colour): number for colour, number in self.colours}
        in_colours = facts.kind == "colour" or (
            facts.kind == "palette" and {*facts.shown} <= {0, *shown}
        )
        if in_colours:
            return Reading("shown", tuple((v, v, n) for v, n in shown.items()))
        # A class may have several codes in circulation; a file that mixes them means neither.
        chosen = {n: v for v, n in sorted(self.values) if v in facts.values}
        objects = tuple((v, v, n) for v, n in self.values if chosen.get(n, v) == v)
        return Reading("stored", objects, self.undecided)


BINARY = Codes(values=((1, 1), (255, 1)), colours=((WHITE, 1),))
"""Black and white masks, as 0 and 255 or as 0 and 1."""


class CodedDomain(FileDomain):
    """A domain whose every mask is looked at before the first episode.

    A mask must have the size of its image and hold known values only. A reader implements
    `discover`, which calls `numbers_in`; items have a `label`.

    Attributes:
        codes: what the values of the masks mean.
    """

    codes: Codes

    @property
    def void_label(self) -> int | None:
        """255 if masks may hold undecided pixels."""
        return VOID if self.codes.undecided else None

    def masks_of(self, item: Item) -> Sequence[str]:
        """The mask files of an item, relative to the root; their union is its truth."""
        return (item.mask,)

    def item_files(self, item: Item) -> Sequence[str]:
        """The image and all mask files."""
        return (item.image, *self.masks_of(item))

    def numbers_in(self, pairs: Sequence[tuple[str, str]], place: str) -> dict[str, set[int]]:
        """The numbers of the classes that each mask shows.

        Args:
            pairs: (image, mask), relative to the root.
            place: the domain's folder, relative to the root.

        Raises:
            DataError: naming a mask of another size than its image, or with an unknown value.
        """
        root = self.root
        found = survey([(root / i, root / m) for i, m in pairs], root / place, self.cache.folder)
        self._facts: dict[str, Facts] = {}
        numbers: dict[str, set[int]] = {}
        for image, mask in pairs:
            facts, size = found.masks[root / mask], found.pictures[root / image].size
            if facts.size != size:
                raise DataError(
                    f"{root / mask} is {facts.size[0]}x{facts.size[1]} but its image "
                    f"{Path(image).name} is {size[0]}x{size[1]}",
                    hint=self.replace_hint,
                )
            numbers[mask] = self._numbers_of(root / mask, facts) - {0, VOID}
            self._facts[mask] = facts
        return numbers

    def read_labels(self, item: Item) -> Pixels:
        """The union of the item's masks, [S, S]: numbers of classes, 0, 255 where undecided."""
        _ = self.classes
        masks = tuple(self.masks_of(item))

        def read() -> Pixels:
            union = np.max([self._decoded(mask) for mask in masks], axis=0)
            height, width = union.shape
            return Pixels(resized_labels(union, self.card.image_size), (width, height))

        return self.cached(masks, f"coded {self.codes}", read)

    def oddities_of(self, path: str) -> tuple[str, ...]:
        """As for every file domain; masks are read as they are meant, or refused."""
        return () if path in self._facts else super().oddities_of(path)

    def _decoded(self, mask: str) -> NDArray[np.uint8]:
        facts = self._facts[mask]
        return decode(self.root / mask, facts, self.codes.reading(facts))

    def _numbers_of(self, path: Path, facts: Facts) -> set[int]:
        reading = self.codes.reading(facts)
        doubt = "" if facts.doubt == "palette" and reading.by == "shown" else facts.doubt
        if doubt:
            raise DataError(f"{path} {_DOUBTS[doubt]}", hint=self.replace_hint)
        if facts.hides:
            raise DataError(
                f"{path} has an alpha channel that says something else than its colours",
                hint="save the mask without transparency",
            )
        try:
            return reading.numbers(facts)
        except ValueError as error:
            known = ", ".join(spelled(low) for low, _, _ in reading.objects)
            raise DataError(
                f"{path} holds {error}, which is no value of {self.card.title} (0, {known}"
                f"{''.join(f', {value}' for value in reading.undecided)})",
                hint=self.replace_hint,
            ) from error
