"""LEM against what a public implementation of its formula computes."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.methods.plugins.lem import LEM

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def stored(shared: Path) -> Mapping[str, NDArray[np.float32]]:
    return np.load(shared / "reference" / "vit_lem.npz")


@pytest.fixture(scope="module")
def feature(fill: ModuleType) -> Tensor:
    return torch.from_numpy(fill.array("lem.feature", (2, 8, 20, 20))).clamp(min=0)


@pytest.fixture(scope="module")
def theta(fill: ModuleType) -> Tensor:
    return 0.1 * torch.from_numpy(fill.array("lem.theta", (8, 8, 3, 3)))


def check(got: Tensor, expected: NDArray[np.float32]) -> None:
    """At the tolerance that `vit.json` states."""
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_every_stored_vector_is_compared(stored: Mapping[str, NDArray[np.float32]]) -> None:
    assert set(stored) == {"conv", "out"}


def test_convolution(
    feature: Tensor, theta: Tensor, stored: Mapping[str, NDArray[np.float32]]
) -> None:
    assert theta.shape == LEM().draw(8, torch.Generator()).shape
    check(F.conv2d(feature, theta, padding=1), stored["conv"])


def test_recombination(
    feature: Tensor, theta: Tensor, stored: Mapping[str, NDArray[np.float32]]
) -> None:
    check(LEM().perturb(feature, theta), stored["out"])


def test_the_amplitude_is_that_of_the_stored_convolution(
    feature: Tensor, theta: Tensor, stored: Mapping[str, NDArray[np.float32]]
) -> None:
    found = torch.fft.rfft2(LEM().perturb(feature, theta)).abs()
    expected = torch.fft.rfft2(torch.from_numpy(stored["conv"])).abs()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
