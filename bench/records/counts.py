"""The evaluator's only measurement: integer pixel counts, per episode."""

from __future__ import annotations

from typing import NamedTuple

EVALUATOR_VERSION = 1
"""Stands in every record. Bump when any count or metric changes; rows of different versions never
share a column."""


class Counts(NamedTuple):
    """Pixels of one episode on the evaluation grid.

    Attributes:
        inter: foreground in prediction and truth.
        union: foreground in prediction or truth.
        inter_bg: background in both.
        union_bg: background in either.
    """

    inter: int
    union: int
    inter_bg: int
    union_bg: int

    def fit(self, pixels: int | None = None) -> bool:
        """Whether they can be the counts of one pair of masks, of at most so many pixels."""
        in_all = self.inter + self.union_bg
        return (
            self.inter <= self.union
            and in_all == self.union + self.inter_bg
            and (pixels is None or in_all <= pixels)
        )
