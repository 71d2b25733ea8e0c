"""Operating systems: what is tested is what is said, and nothing needs POSIX to be imported."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cdfss_bench.bench.cost.profile import cost_of
from cdfss_bench.methods import build

from .conftest import CHECKOUT
from .support.imports import modules

SYSTEMS = {
    "ubuntu": "Operating System :: POSIX :: Linux",
    "macos": "Operating System :: MacOS",
    "windows": "Operating System :: Microsoft :: Windows",
}

# Other packages choose by `sys.platform`, which stays as it is: they are imported before.
WITHOUT_POSIX = """
import asyncio, importlib, os, signal, sys
import filelock, pandas, PIL.Image, pydantic, rich, safetensors.torch, scipy.special, scipy.stats
import torch, torch.distributed, torch.utils.flop_counter, typer, yaml

for name in ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
for module, names in ((os, ("fork", "getuid", "geteuid", "killpg", "sched_getaffinity")),
                      (signal, ("SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGSTOP", "alarm"))):
    for name in names:
        delattr(module, name)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_every_module_can_be_imported_without_what_only_posix_has(tmp_path: Path) -> None:
    names = [name for name, _ in modules() if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_system_that_tells_no_peak_memory_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    method = build("all-foreground", backbone="resnet-mini")
    assert cost_of(method, shots=1, size=32, device="cpu").peak_memory_mb == 0


def test_the_classifiers_name_the_systems_that_the_workflows_test() -> None:
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    tested = {
        system
        for workflow in (CHECKOUT / ".github" / "workflows").glob("*.yml")
        for system in re.findall(r"\b(ubuntu|macos|windows)-", workflow.read_text())
    }
    said = {line for line in classifiers if line.startswith("Operating System")}
    assert said == {SYSTEMS[system] for system in tested}
