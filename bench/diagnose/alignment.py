"""Linear CKA of two sets of images that share nothing but the network: channels are the pairs.

CKA (Kornblith et al., ICML 2019) compares two descriptions of the same items. Images of two domains
are not the same items, so that a Gram matrix over images would rest on an arbitrary pairing. The
channels of one network are: each image describes all channels, so that X [C, N] and Y [C, M] are
two descriptions of C items, centred over the channels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERMUTATIONS = 200
"""Of the pairing, for the baseline."""


@dataclass(frozen=True)
class Alignment:
    """How alike two sets of images are to a stage.

    Attributes:
        cka: linear CKA, 0 to 1.
        chance: mean over random pairings of the channels.
        chance_high: 97.5th percentile of these.
        first: what each image of the first set adds to the error, [N] (delete-one jackknife).
        second: likewise of the second set, [M].
    """

    cka: float
    chance: float
    chance_high: float
    first: Floats
    second: Floats

    @property
    def error(self) -> float:
        """Standard error of `cka` over images of both sets."""
        return math.hypot(_norm(self.first), _norm(self.second))

    @property
    def beyond(self) -> float:
        """`(cka - chance) / (1 - chance)`: 0 for a random pairing, 1 for equal descriptions."""
        return (self.cka - self.chance) * self.scale

    @property
    def scale(self) -> float:
        """By which `beyond` and its error are larger than `cka`'s, the baseline taken as known."""
        return 1 / (1 - self.chance) if self.chance < 1 else math.nan


def change_error(one: Alignment, other: Alignment, *, same_second: bool) -> float:
    """Standard error of the difference of two `beyond`.

    Args:
        one: an alignment.
        other: one with the same first set of images.
        same_second: whether the second set is the same too (another network looked at them).
    """
    first = _norm(one.scale * one.first - other.scale * other.first)
    if same_second:
        return math.hypot(first, _norm(one.scale * one.second - other.scale * other.second))
    return math.hypot(first, one.scale * _norm(one.second), other.scale * _norm(other.second))


def alignment(
    first: Floats, second: Floats, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> Alignment:
    """CKA of [C, N] and [C, M] with its error over images and its baseline over pairings.

    CKA is `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` with `HSIC = tr(KHLH) / (C - 1)^2`, `K = XX'`,
    `L = YY'` (Kornblith et al., eqs. 3-4), that is `|X'Y|^2 / (|X'X| |Y'Y|)` in Frobenius norms, X
    and Y centred over the items; NaN where all items are alike in one of the sets.

    The baseline is not zero: C items described by few directions look somewhat alike however they
    are paired, the more so where one direction (each channel's mean response) outweighs the rest.

    Raises:
        ValueError: if the numbers of items differ, or a set has a single image.
    """
    if min(first.shape[1], second.shape[1]) < 2:
        raise ValueError("the error of CKA needs two images of each set")
    cross, own, other = _squares(first, second)
    rng = np.random.RandomState(seed)
    baseline = [
        _ratio(_cross(first[rng.permutation(len(first))], second), own, other)
        for _ in range(permutations)
    ]
    return Alignment(
        _ratio(cross, own, other),
        float(np.mean(baseline)),
        float(np.quantile(baseline, 0.975)),
        _jackknife(cross, own, float(other.sum())),
        _jackknife(cross.T, other, float(own.sum())),
    )


def _squares(first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
    """Squared entries of X'Y, X'X, Y'Y: CKA of any part of the images is a ratio of their sums."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} items cannot be paired")
    return _cross(first, second), _cross(first, first), _cross(second, second)


def _cross(first: Floats, second: Floats) -> Floats:
    # Centring one side would do; both, for the sake of rounding.
    return np.square((first - first.mean(0)).T @ (second - second.mean(0)))


def _ratio(cross: Floats, own: Floats, other: Floats) -> float:
    scale = math.sqrt(float(own.sum()) * float(other.sum()))
    return float(cross.sum()) / scale if scale > 0 else math.nan


def _jackknife(cross: Floats, own: Floats, other: float) -> Floats:
    """Deviations of CKA without each image of the first set; their squares sum to its variance."""
    left = cross.sum() - cross.sum(1)
    kept = own.sum() - 2 * own.sum(1) + np.diag(own)
    scale = np.sqrt(np.maximum(kept, 0) * other)
    without = np.divide(left, scale, out=np.zeros_like(left), where=scale > 0)
    return (without - without.mean()) * math.sqrt((len(own) - 1) / len(own))


def _norm(deviations: Floats) -> float:
    return float(np.linalg.norm(deviations))
