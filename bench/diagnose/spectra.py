"""Filters of a map's spectrum: which frequencies keep their amplitude, and which their phase.

The study of the APM paper (Tong et al., NeurIPS 2024, figure 1): amplitude and phase each kept
whole, above a cut-off, or below it. What is not kept is zero: such a frequency has no amplitude, or
no phase. The paper states neither the cut-off nor its shape; here it is a circle whose radius is a
fraction of the Nyquist frequency of the shorter side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Band = Literal["all", "high", "low"]

BANDS: tuple[Band, ...] = ("all", "high", "low")
"""In the order of the paper's rows and columns."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One cell of the 3 x 3 study.

    Attributes:
        amplitude: the band that keeps its amplitude.
        phase: the band that keeps its phase.
        radius: between low and high, in parts of the Nyquist frequency; what lies on it is low.
    """

    amplitude: Band
    phase: Band
    radius: float

    @property
    def is_identity(self) -> bool:
        """Whether nothing is filtered."""
        return self.amplitude == self.phase == "all"

    def __call__(self, maps: Tensor) -> Tensor:
        """Filtered [..., h, w] of real `maps`; the result is real because both bands are even."""
        if self.is_identity:
            return maps
        size = (maps.shape[-2], maps.shape[-1])
        spectrum = torch.fft.fft2(maps.to(torch.promote_types(maps.dtype, torch.float32)))
        changed = spectrum * self._kept(self.amplitude, size, maps.device)
        if self.phase != "all":
            kept = self._kept(self.phase, size, maps.device)
            changed = torch.polar(changed.abs(), spectrum.angle() * kept)
        return torch.fft.ifft2(changed).real.to(maps.dtype)

    def _kept(self, band: Band, size: tuple[int, int], device: torch.device) -> Tensor:
        if band == "all":
            return torch.ones(size, device=device)
        low = low_band(size, self.radius).to(device)
        return (low if band == "low" else ~low).float()


def low_band(size: tuple[int, int], radius: float) -> Tensor:
    """Bool [h, w] in the order of `fft2`: frequencies up to `radius` times the Nyquist frequency.

    Frequencies are in cycles per position, 0.5 being Nyquist along either axis; the corners of the
    spectrum lie at 1.41.
    """
    rows, columns = (torch.fft.fftfreq(length, dtype=torch.float64) for length in size)
    distance = torch.sqrt(rows[:, None] ** 2 + columns[None] ** 2) / 0.5
    return distance <= radius + 1e-9


def cells(radius: float) -> tuple[Filter, ...]:
    """The nine cells at one cut-off, rows (amplitude) first."""
    return tuple(Filter(amplitude, phase, radius) for amplitude in BANDS for phase in BANDS)
