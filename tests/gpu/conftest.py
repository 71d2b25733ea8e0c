"""The device that the tests of this folder use, and how they report what they measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cdfss_bench.bench.arithmetic import exact_fp32

Measured = Callable[[str, object], None]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """`cuda`, or what `--gpu-device` names; the test is skipped where it is absent."""
    chosen: str = request.config.getoption("--gpu-device")
    if chosen.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    exact_fp32()
    return chosen


@pytest.fixture
def cuda(device: str) -> str:
    """As `device`, for tests that mean nothing on another one."""
    if not device.startswith("cuda"):
        pytest.skip("only a CUDA device has this")
    return device


@pytest.fixture(autouse=True)
def _pictures_are_drawn_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDFSS_CACHE", str(tmp_path_factory.getbasetemp() / "pictures"))


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Writes a measured value into the report (`--junitxml`)."""
    return record_property
