"""The number of threads fits the work and the machine; they sleep while they wait."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.runtime import threads
from cdfss_bench.bench.runtime.threads import available_cpus, fit_threads, set_threads

NOTHING = Path("nowhere")


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    before, asked = torch.get_num_threads(), [*threads._asked]  # pyright: ignore[reportPrivateUsage]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    yield
    threads._asked[:] = asked  # pyright: ignore[reportPrivateUsage]
    torch.set_num_threads(before)


def quota_of(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200000 100000\n", 2), ("150000 100000\n", 1), ("10000 100000", 1), ("max 100000\n", 64)],
)
def test_a_quota_of_the_control_group_limits_the_processors(
    text: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert available_cpus(quota_of(tmp_path, cpu_DOT_max=text)) == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 8), ("50000", 1)])
def test_so_does_one_of_version_1(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    folder = quota_of(
        tmp_path, cpu__cpu_DOT_cfs_quota_us=quota, cpu__cpu_DOT_cfs_period_us="100000\n"
    )
    assert available_cpus(folder) == expected


def test_processors_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert available_cpus(NOTHING) == 3


def test_where_no_affinity_is_known_all_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cpus(NOTHING) == 6


def test_small_images_get_one_thread_and_large_ones_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: 3)
    assert [fit_threads(128), fit_threads(400), fit_threads(128, 8)] == [1, 3, 3]


def test_a_number_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: 3)
    set_threads(2)
    assert [fit_threads(128), fit_threads(400)] == [2, 2]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_so_does_one_of_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setenv(name, "2")
    assert [fit_threads(128), fit_threads(400)] == [2, 2]


SAYS = """
import os, sys
from cdfss_bench.bench.cli import main
sys.argv = ["cdfss-bench", "--version"]
try:
    main()
except SystemExit:
    pass
names = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
print(*(os.environ.get(name) for name in names), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "PASSIVE 20000 False"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None False"),
        ({"GOMP_SPINCOUNT": "100"}, "None 100 False"),
        ({"KMP_BLOCKTIME": "1"}, "None None False"),
    ],
)
def test_the_command_lets_threads_sleep_unless_the_user_chose(
    given: dict[str, str], expected: str
) -> None:
    unset = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    environment = {k: v for k, v in os.environ.items() if k not in unset} | given
    done = subprocess.run(
        [sys.executable, "-c", SAYS], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == expected
