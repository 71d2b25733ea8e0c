"""What may be said of a difference, and of its absence: both need significance and a size."""

from .bootstrap import Interval

MINIMUM = 0.5
"""Points below which a difference is no claim, however certain it is."""
ALPHA = 0.05
NONE = "no significant difference"
_POWER = 1.959964 + 0.841621
"""Standard errors that a true difference must measure to be found at 5 % four times in five."""


def detectable(interval: Interval | None) -> float | None:
    """Points of true difference that a comparison finds in four cases of five."""
    return None if interval is None else _POWER * interval.error


def is_no_gain(interval: Interval | None, minimum: float = MINIMUM) -> bool:
    """Whether an advantage of at least `minimum` points is excluded.

    The 95 % interval of the difference lies within ± the minimum (which is stricter than two
    one-sided tests at 5 % each) or below 0. Without an interval nothing is excluded.
    """
    if interval is None:
        return False
    return interval.high < 0 or (-minimum < interval.low and interval.high < minimum)
