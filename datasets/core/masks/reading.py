"""What each value of a class's masks means, and masks decoded by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

from .facts import COLOUR, Codes, Facts, Look, look_at, spelled
from .options import VOID

By = Literal["stored", "shown", "alpha"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What each value of a class's masks means.

    Attributes:
        by: which value of a pixel counts: as `stored`, as `shown`, or its `alpha`.
        objects: (lowest value, highest value, number of the class).
        undecided: values of undecided pixels.
        strict: whether any further value but 0 is an error; else it is background.
        note: what a reader of the numbers must know of it; may be empty.
    """

    by: By
    objects: tuple[tuple[int, int, int], ...]
    undecided: tuple[int, ...] = ()
    strict: bool = True
    note: str = ""

    @property
    def key(self) -> list[object]:
        """All that decides a decoded mask beside the file."""
        return [self.by, self.objects, self.undecided]

    @property
    def described(self) -> str:
        """The values of objects, as options spell them."""
        if self.by == "alpha":
            return "alpha"
        if any(low == -COLOUR for low, _, _ in self.objects):
            return "nonzero"
        spans = [(spelled(low), spelled(high)) for low, high, _ in self.objects]
        return "+".join(low if low == high else f"{low}..{high}" for low, high in spans)

    def meaning(self, facts: Facts) -> tuple[int, ...]:
        """0, the number of a class, or 255, for each of `facts.values` (or of `facts.alpha`)."""
        return tuple(map(self._meaning_of, values_by(facts, self.by)))

    def _meaning_of(self, value: int) -> int:
        if value in self.undecided:
            return VOID
        found = next((n for low, high, n in self.objects if low <= value <= high), None)
        if found is None and value and self.strict:
            raise ValueError(spelled(value))
        return found or 0

    def numbers(self, facts: Facts) -> set[int]:
        """What a mask holds: 0, numbers of classes, 255."""
        found = set(self.meaning(facts))
        return found | {0} if 0 in facts.alpha and self.by != "alpha" else found


def decode(
    path: Path, facts: Facts, reading: Reading, look_at: Callable[[Path], Look] = look_at
) -> NDArray[np.uint8]:
    """The mask at `path` as stored, [H, W] of 0, the numbers of classes, and 255 for undecided.

    Args:
        path: of the mask.
        facts: of it, on which the reading was decided.
        reading: of its class.
        look_at: decodes a mask file.

    Raises:
        DataError: if the file is unreadable, or no longer holds what it held.
    """
    look = look_at(path)
    if look.facts != facts:
        raise DataError(f"{path} was changed while it was read", hint="type the command again")
    codes, values = look.codes, facts.values
    if reading.by == "alpha":
        codes = np.full(codes.shape, 255) if look.alpha is None else look.alpha
        values = values_by(facts, "alpha")
    labels = _replaced(codes, values, reading.meaning(facts))
    if look.alpha is not None and reading.by != "alpha":
        labels = np.where(look.alpha == 0, 0, labels).astype(np.uint8)
    return labels


def _replaced(codes: Codes, values: tuple[int, ...], meaning: tuple[int, ...]) -> NDArray[np.uint8]:
    """Each of `values`, which are sorted, in `codes` [H, W] replaced by its meaning."""
    if not values:  # all is transparent
        return np.zeros(codes.shape, np.uint8)
    new = np.array(meaning, np.uint8)
    if values[0] >= 0 and values[-1] < 2**16:
        table = np.zeros(max(values[-1], int(codes.max())) + 1, np.uint8)
        table[list(values)] = new
        return table[codes]
    return new[np.searchsorted(np.array(values), codes).clip(0, len(new) - 1)]


def values_by(facts: Facts, by: By) -> tuple[int, ...]:
    """The distinct values of a mask that count for a reading."""
    if by == "alpha":
        return facts.alpha or (255,)
    return facts.values if by == "stored" else facts.shown
