"""A masked support by the positions that its mask leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..blocks.correlation import EPS
from ..blocks.prototypes import resized_masks


@dataclass(frozen=True, slots=True)
class Spots:
    """One stage of one masked support.

    Attributes:
        row: for each of the h x w positions of the maps its row, or -1 where the mask is zero.
        side: (h, w).
        taps: unit rows [n, C] of each tap at those positions.
    """

    row: NDArray[np.int64]
    side: tuple[int, int]
    taps: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class SpottedSupport:
    """All stages of one masked support, and what else its method keeps of it.

    Attributes:
        stages: by name.
        bases: PATNet's [2, C] by tap.
    """

    stages: Mapping[str, Spots]
    bases: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        taps = sum(tap.nbytes for spots in self.stages.values() for tap in spots.taps)
        rows = sum(spots.row.nbytes for spots in self.stages.values())
        return taps + rows + sum(basis.nbytes for basis in self.bases.values())


def spotted(taps: Sequence[Tensor], mask: Tensor) -> Spots:
    """Where `mask` [1, H, W] leaves something of `taps` [1, C, h, w], and what, as unit rows."""
    height, width = taps[0].shape[-2:]
    soft = resized_masks(mask, taps[0]).flatten()
    there = soft.nonzero()[:, 0]
    row = np.full(height * width, -1, np.int64)
    row[there.numpy()] = np.arange(len(there))
    rows = [unit_rows(position_rows(tap)[there] * soft[there, None]) for tap in taps]
    return Spots(row, (height, width), rows)


def position_rows(maps: Tensor) -> Tensor:
    """[1, C, h, w] -> [h*w, C], a view where channels lie last."""
    return maps[0].flatten(1).t()


def unit_rows(rows: Tensor) -> Tensor:
    """[n, C], each row divided by (its norm + 1e-5); see `correlation.directions`."""
    return rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + EPS)
