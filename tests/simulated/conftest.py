"""The simulated device, made known before any test: torch learns of devices only once.

Other tests see no such device: `tests/test_simulated.py` runs these in a process of their own, as
`pytest -m simulated tests/simulated` does.
"""

from collections.abc import Generator

import pytest

from ..gpu.conftest import pictures_are_drawn_once  # noqa: F401  # pyright: ignore
from ..support import simulated_device


def pytest_configure(config: pytest.Config) -> None:
    """Makes the device known where these tests, and no others, were asked for."""
    if config.getoption("markexpr") == "simulated" and simulated_device.AVAILABLE:
        simulated_device.install()


@pytest.fixture
def device() -> Generator[str]:
    """`sim`; the test is skipped where it cannot be."""
    if not simulated_device.AVAILABLE:
        pytest.skip("torch has no hooks for a simulated device, or a real one is here")
    with simulated_device.simulated() as name:
        yield name
