"""How much the channels of a map say the same: absolute Pearson correlations over positions.

The measure of the APM paper that can be computed without a choice (figure 6); its mutual
information rests on an estimator whose network and pairing are not stated.
"""

import math

import torch
from scipy.special import beta
from torch import Tensor

BINS = 50
"""Of the distribution on [0, 1]."""


def channel_correlations(maps: Tensor) -> Tensor:
    """Absolute Pearson correlations of all pairs of channels of [C, h, w]: a vector.

    Channels that are constant (dead) have none and are left out.
    """
    rows = maps.flatten(1).double()
    spread = rows.std(1, correction=0)
    alive = rows[spread > 1e-9 * spread.amax().clamp_min(1e-30)]
    if len(alive) < 2:
        return rows.new_empty(0)
    upper = torch.triu_indices(len(alive), len(alive), offset=1)
    return torch.corrcoef(alive).abs()[upper[0], upper[1]]


def distribution(correlations: Tensor) -> Tensor:
    """Share of the correlations in each of 50 equal bins of [0, 1]."""
    found = torch.histc(correlations.float(), bins=BINS, min=0, max=1)
    return found.double() / max(len(correlations), 1)


def noise_level(positions: int) -> float:
    """Expected absolute correlation of two independent white Gaussian channels.

    `Gamma((n-1)/2) / (sqrt(pi) Gamma(n/2))` with n positions: 0.062 on the paper's 13 x 13 maps.

    Raises:
        ValueError: below three positions, where a correlation says nothing.
    """
    if positions < 3:
        raise ValueError(f"{positions} positions have no correlation")
    return float(beta((positions - 1) / 2, 1 / 2)) / math.pi
