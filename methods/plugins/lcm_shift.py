"""LCM's control: the mean of its correction alone, one number for a whole map."""

from __future__ import annotations

from torch import Tensor

from .lcm import LCM


class LCMShift(LCM):
    """Adds the mean over the patches of what LCM would add, so that only a threshold moves.

    With LCM's parameters `lcm` is exactly this plus `lcm[beta=mean]`: what of LCM's effect this row
    has too is no low-level calibration. Options are LCM's.
    """

    def correction(self, similarity: Tensor) -> Tensor:
        """The mean of LCM's over the patches, [N, 1, 1, 1]."""
        return super().correction(similarity).mean((2, 3), keepdim=True)
