"""The device that the tests of this folder use, and how they report what they measured."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.runtime.precision import exact_fp32

Measured = Callable[[str, object], None]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """`cuda`, or what `--gpu-device` names; the test is skipped where it is absent."""
    chosen = str(request.config.getoption("--gpu-device"))
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
def pictures_are_drawn_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDFSS_CACHE", str(tmp_path_factory.getbasetemp() / "pictures"))


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Writes a measured value into the reports (`--gpu-report`, `--junitxml`)."""
    return record_property


class Reporter:
    """Writes each test's outcome and figures as it ends: what is stopped leaves them too."""

    def __init__(self, path: Path):
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A line per test, and one more where setting up or tearing down fails."""
        if report.when != "call" and report.passed:
            return
        row = {
            "test": report.nodeid.rpartition("/")[2],
            "outcome": report.outcome,
            "seconds": round(report.duration, 2),
            **{str(name): value for name, value in report.user_properties},
        }
        if report.failed:
            row["why"] = report.longreprtext[-1500:]
        with self._path.open("a") as file:
            file.write(f"{json.dumps(row, default=str)}\n")


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that speaks to people reports, where there are several (pytest-xdist)."""
    path: Path | None = config.getoption("--gpu-report")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporter(path))
