"""Which values of a volume or DICOM file become black and white."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

Numbers = NDArray[Any]

PERCENTILES = (0.5, 99.5)
"""What becomes black and white where nothing states a window."""

_SAMPLE = 4_000_000
"""Voxels of which percentiles are taken, evenly spread."""
_WINDOW = re.compile(r"(?P<low>-?\d+(?:\.\d+)?)(?P<p>%?)\.\.(?P<high>-?\d+(?:\.\d+)?)(?P<q>%?)")


@dataclass(frozen=True)
class Window:
    """Which values become black and white.

    Attributes:
        low: value, or percentile of the volume or file, that becomes black.
        high: the same of white.
        relative: whether they are percentiles.
        stated: whether a window that a DICOM file states comes first.
    """

    low: float = PERCENTILES[0]
    high: float = PERCENTILES[1]
    relative: bool = True
    stated: bool = True

    def described(self, *, dicom: bool) -> str:
        """As a note says it, of DICOM files or of volumes."""
        if not self.relative:
            return f"{self.low:g} to {self.high:g}"
        first = "as a file states it, else " if dicom and self.stated else ""
        what = "each file" if dicom else "each volume"
        return f"{first}percentiles {self.low:g} to {self.high:g} of {what}"


def window_of(typed: str) -> Window:
    """`auto`, values as `-160..240`, or percentiles as `1%..99%`.

    Raises:
        DataError: if it is not spelled so.
    """
    if typed == "auto":
        return Window()
    match = _WINDOW.fullmatch(typed)
    if match and match["p"] == match["q"]:
        low, high, relative = float(match["low"]), float(match["high"]), bool(match["p"])
        if low < high and (not relative or (low >= 0 and high <= 100)):
            return Window(low, high, relative, stated=False)
    raise DataError(
        f"window={typed} names no range of values",
        hint="window=-160..240 in the values of the files (Hounsfield units of a CT), percentiles "
        "as window=1%..99%, or window=auto",
    )


def limits(values: Numbers, window: Window, key: str) -> tuple[float, float]:
    """The values that become black and white; `key` names the file in errors."""
    if not window.relative:
        return window.low, window.high
    sample = values.ravel()[:: max(1, values.size // _SAMPLE)].astype(np.float64)
    if not np.isfinite(sample).all():
        sample = sample[np.isfinite(sample)]
        if not sample.size:
            raise DataError(f"{key} holds no numbers", hint="replace it")
    low, high = np.percentile(sample, (window.low, window.high))
    return float(low), float(high)


def grey(values: Numbers, low: float, high: float) -> NDArray[np.uint8]:
    """8 bits: `low` is black, `high` is white."""
    share = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / max(high - low, 1e-12)
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)
