"""Which single episodes of a record are shown, and what is shown of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from ...records.cell_folder import EpisodeRow
from ...statistics.metrics import iou


class Example(NamedTuple):
    """An episode that is shown: `best`, `median` or `worst`, and its row in the record."""

    role: str
    row: EpisodeRow


@dataclass(frozen=True, slots=True)
class Layer:
    """A JPEG and the mask over it: a PNG, transparent where there is no foreground."""

    name: str
    picture: bytes
    mask: bytes


@dataclass(frozen=True, slots=True)
class Panel:
    """One episode as pictures, all of the same size.

    Attributes:
        query: with its true mask.
        prediction: the mask computed again, PNG.
        found: IoU of that mask in percent.
    """

    example: Example
    class_name: str
    supports: tuple[Layer, ...]
    query: Layer
    prediction: bytes
    found: float

    @property
    def recorded(self) -> float:
        """IoU in percent as the record's row has it."""
        counts = self.example.row.counts
        return iou(counts.inter, counts.union)


def examples(rows: Sequence[EpisodeRow]) -> list[Example]:
    """The best, the (lower) median and the worst episode by IoU, each once; ties by index.

    The order is that of exact fractions of the integer counts: it is the same on every machine.
    """
    ordered = sorted(rows, key=lambda row: (_exact_iou(row), row.index))
    if not ordered:
        return []
    best = min(rows, key=lambda row: (-_exact_iou(row), row.index))
    chosen = {"best": best, "median": ordered[(len(ordered) - 1) // 2], "worst": ordered[0]}
    found: dict[int, Example] = {}
    for role, row in chosen.items():
        found.setdefault(row.index, Example(role, row))
    return list(found.values())


def _exact_iou(row: EpisodeRow) -> Fraction:
    return Fraction(row.counts.inter, max(row.counts.union, 1))
