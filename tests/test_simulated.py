"""The tests on the simulated accelerator, in a process of their own.

torch knows a backend for the rest of a process, and learns of none once it has computed a gradient.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from .support.simulated_device import AVAILABLE

FOLDER = Path(__file__).parent / "simulated"


@pytest.mark.skipif(not AVAILABLE, reason="torch has no hooks for it, or a real device is here")
def test_the_tests_on_the_simulated_device_pass() -> None:
    words = ["-q", "-p", "no:cacheprovider", "-m", "simulated", "--tb=short", str(FOLDER)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=FOLDER.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
