"""Filters of a map's spectrum: which frequencies keep their amplitude, and which their phase.

The study of the APM paper (Tong et al., NeurIPS 2024, figure 1): amplitude and phase each kept
whole, high or low; amplitude, or phase, is multiplied by what the band keeps of each frequency. The
paper states neither cut-off nor shape. It was no ideal cut-off: where the amplitude is zero the
phase does not matter, so that (low, all) and (low, low) would be equal, as would (high, all) and
(high, high), and in its figure they differ by up to 13 points. Hence the Gaussian edge.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Band = Literal["all", "high", "low"]
Edge = Literal["gaussian", "ideal"]

BANDS: tuple[Band, ...] = ("all", "high", "low")
"""In the order of the paper's rows and columns."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One cell of the 3 x 3 study.

    Attributes:
        amplitude: the band that keeps its amplitude.
        phase: the band that keeps its phase.
        radius: between low and high, in parts of the Nyquist frequency.
        edge: `gaussian`, whose standard deviation the radius is, or `ideal`, all or nothing.
    """

    amplitude: Band
    phase: Band
    radius: float
    edge: Edge = "gaussian"

    @property
    def is_identity(self) -> bool:
        """Whether nothing is filtered."""
        return self.amplitude == self.phase == "all"

    def __call__(self, maps: Tensor) -> Tensor:
        """Filtered [..., h, w] of real `maps`; the bands are even, so that the result is real.

        Only a Nyquist frequency of an even side whose phase a soft band turns from pi loses its
        imaginary part, as in APM's own code.
        """
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
        low = low_band(size, self.radius, self.edge).to(device)
        return low if band == "low" else 1 - low


def low_band(size: tuple[int, int], radius: float, edge: Edge = "gaussian") -> Tensor:
    """What is kept of each frequency, float [h, w] in the order of `fft2`; 1 at frequency zero.

    Gaussian: `exp(-d^2 / 2 radius^2)` at distance d from zero; ideal: 1 up to `radius`, then 0.

    Frequencies are in cycles per position, 0.5 being Nyquist along either axis; the corners of the
    spectrum lie at 1.41.
    """
    rows, columns = (torch.fft.fftfreq(length, dtype=torch.float64) for length in size)
    distance = torch.sqrt(rows[:, None] ** 2 + columns[None] ** 2) / 0.5
    if edge == "ideal" or radius == 0:
        return (distance <= radius + 1e-9).float()
    return torch.exp(-0.5 * (distance / radius) ** 2).float()


def cells(radius: float, edge: Edge = "gaussian") -> tuple[Filter, ...]:
    """The nine cells at one cut-off, rows (amplitude) first."""
    return tuple(Filter(a, p, radius, edge) for a in BANDS for p in BANDS)
