"""CKA against the cases whose value is known."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from cdfss_bench.bench.diagnose.alignment import alignment

CHANNELS, IMAGES = 300, 40


def drawn(seed: int, images: int = IMAGES) -> NDArray[np.float64]:
    return np.random.RandomState(seed).standard_normal((CHANNELS, images))


def rotation(size: int, seed: int) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.RandomState(seed).standard_normal((size, size)))[0]


def cka(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return alignment(first, second, permutations=1).cka


def test_a_set_is_aligned_with_itself() -> None:
    assert cka(drawn(0), drawn(0)) == pytest.approx(1)


def test_rotation_isotropic_scaling_and_a_shift_of_all_channels_change_nothing() -> None:
    first, second = drawn(0), drawn(1) + drawn(0)
    moved = -3.7 * second @ rotation(IMAGES, 2) + np.random.RandomState(3).uniform(size=IMAGES)
    assert cka(first, moved) == pytest.approx(cka(first, second))


def test_scaling_of_single_images_is_seen() -> None:
    second = drawn(1) + drawn(0)
    weighted = second * np.linspace(0, 10, IMAGES)
    assert abs(cka(drawn(0), weighted) - cka(drawn(0), second)) > 0.05


def test_it_is_the_ratio_of_hsics() -> None:
    first, second = drawn(0), drawn(1, 25) + drawn(0)[:, :25]
    centring = np.eye(CHANNELS) - 1 / CHANNELS

    def hsic(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
        product = one @ one.T @ centring @ two @ two.T @ centring
        return float(np.trace(product)) / (CHANNELS - 1) ** 2

    expected = hsic(first, second) / math.sqrt(hsic(first, first) * hsic(second, second))
    assert cka(first, second) == pytest.approx(expected)


def test_independent_noise_is_at_the_baseline_and_what_is_shared_is_beyond_it() -> None:
    noise = alignment(drawn(0), drawn(1))
    assert noise.cka <= noise.chance_high * 1.1
    assert abs(noise.beyond) < 0.02
    shared = drawn(2)
    found = alignment(drawn(0) + shared, drawn(1) + shared)
    assert found.cka > found.chance_high
    assert found.beyond > 0.15
    same = alignment(shared, shared)
    assert same.beyond == pytest.approx(1)


def test_the_channels_are_paired() -> None:
    shared = drawn(2)
    mixed = shared[np.random.RandomState(0).permutation(CHANNELS)]
    assert abs(alignment(shared, mixed).beyond) < 0.02


def test_the_error_is_the_spread_over_images() -> None:
    rng = np.random.RandomState(0)
    basis = rng.standard_normal((CHANNELS, 3))

    def sample() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = [np.array([1, 0.6, 0.3]), np.array([0.4, 1, 0.5])]
        first, second = (
            basis @ (w[:, None] * (1 + rng.standard_normal((3, IMAGES)))) for w in weights
        )
        return first, second

    found = [alignment(*sample(), permutations=1) for _ in range(60)]
    spread = float(np.std([one.cka for one in found], ddof=1))
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.35)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        cka(drawn(0), drawn(1)[:10])
    with pytest.raises(ValueError, match="two images"):
        alignment(drawn(0, 1), drawn(1))
    assert math.isnan(cka(np.ones((CHANNELS, 3)), drawn(1)))
