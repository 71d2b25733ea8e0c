"""What boundary measures of many episodes amount to."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from ..records.boundary import Boundary


@dataclass(frozen=True, slots=True)
class Summary:
    """One measure over all episodes in which it is defined.

    Attributes:
        mean: None where it is defined in none.
        median: likewise.
        undefined: episodes in which it is not.
    """

    mean: float | None
    median: float | None
    undefined: int


@dataclass(frozen=True, slots=True)
class BoundarySummary:
    """The boundary measures of a number of episodes.

    Attributes:
        nsd_tolerance: in pixels.
        hd95: in pixels.
        nsd: in percent.
        boundary_iou: in percent.
        episodes: how many there are.
    """

    nsd_tolerance: float
    hd95: Summary
    nsd: Summary
    boundary_iou: Summary
    episodes: int


def summarised(found: Sequence[Boundary | None]) -> BoundarySummary | None:
    """Means and medians; None where an episode was not measured or the tolerances differ.

    Args:
        found: of every episode.
    """
    known = [one for one in found if one is not None]
    tolerances = {one.nsd_tolerance for one in known}
    if len(known) != len(found) or len(tolerances) != 1:
        return None
    return BoundarySummary(
        tolerances.pop(),
        _summary([one.hd95 for one in known]),
        _summary([one.nsd for one in known]),
        _summary([one.boundary_iou for one in known]),
        len(known),
    )


def _summary(values: Sequence[float | None]) -> Summary:
    defined = [value for value in values if value is not None]
    undefined = len(values) - len(defined)
    if not defined:
        return Summary(None, None, undefined)
    return Summary(fmean(defined), median(defined), undefined)
