"""Boundary measures of one episode, which its row may hold beside the pixel counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from .counts import Counts


class Boundary(NamedTuple):
    """How far the outlines of prediction and truth lie apart, on the evaluation grid.

    Attributes:
        nsd_tolerance: of `nsd`, in pixels.
        hd95: 95th percentile of the Hausdorff distance in pixels; None where a mask is empty.
        nsd: normalised surface distance in percent; None where both masks are empty.
        boundary_iou: in percent; None where both masks are empty.
    """

    nsd_tolerance: float
    hd95: float | None
    nsd: float | None
    boundary_iou: float | None

    def fit(self, counts: Counts, side: int | None = None) -> bool:
        """Whether they can be the measures of masks with these counts on a grid of that side."""
        shares = (self.nsd, self.boundary_iou)
        longest = math.inf if side is None else math.hypot(side, side)
        in_range = all(share is None or 0 <= share <= 100 for share in shares)
        in_range &= self.nsd_tolerance >= 0 and (self.hd95 is None or 0 <= self.hd95 <= longest)
        if not in_range:
            return False
        if counts.union == 0:
            return self[1:] == (None, None, None)
        if counts.inter == counts.union:
            return self[1:] == (0, 100, 100)
        return None not in shares and (self.hd95 is not None or not any((counts.inter, *shares)))


def parse_boundary(values: Mapping[str, Any]) -> Boundary | None:
    """The measures in the values of a row; None if it has none.

    Raises:
        ValueError: if one of them is missing or is no number.
    """
    found = [values[name] for name in Boundary._fields if name in values]
    if not found:
        return None
    is_number = [type(one) is float or (one is None and at > 0) for at, one in enumerate(found)]
    if len(found) != len(Boundary._fields) or not all(is_number):
        raise ValueError("the boundary measures are damaged")
    return Boundary(*found)
