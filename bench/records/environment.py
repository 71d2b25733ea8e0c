"""Where, when and how a number was computed: software, hardware, code, time, the command."""

import datetime
import platform
import shlex
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..runtime import allocator
from ..runtime.accelerator import accelerator
from ..runtime.precision import rounds_to_tf32

PACKAGES = ("cdfss-bench", "torch", "numpy", "pandas", "pillow", "safetensors", "pydantic")


def packages() -> dict[str, str]:
    """Versions of the packages that can change a result."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@lru_cache(maxsize=1)
def git_state() -> dict[str, str | bool] | None:
    """Commit of this checkout and whether it was changed since; None outside a checkout."""
    folder = str(Path(__file__).parent)

    def git(*arguments: str) -> str | None:
        return _output_of("git", "-C", folder, *arguments)

    # An installed copy may lie inside somebody else's repository.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return None if commit is None else {"commit": commit, "dirty": bool(status)}


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """`cpu`, or what a GPU is called."""
    module = accelerator(device)
    return "cpu" if module is None else module.get_device_name(device)


def describe(device: str) -> dict[str, Any]:
    """The environment of a run on `device`, for its record."""
    import torch

    from cdfss_bench.datasets.core.decode_cache import decoder_versions

    on_gpu = device.startswith("cuda")
    return {
        "packages": packages(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "git": git_state(),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "allocator": allocator.state(),
        "device": device_name(device),
        "cuda": torch.version.cuda if on_gpu else None,
        "driver": _driver() if on_gpu else None,
        "tf32": on_gpu and rounds_to_tf32(),
        "decoder": decoder_versions(),
    }


def now() -> str:
    """UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """The command as typed; of the program only its name, not its folder."""
    words = [word.encode(errors="backslashreplace").decode() for word in sys.argv[1:]]
    return shlex.join(["cdfss-bench", *words])


def _driver() -> str | None:
    path = Path("/proc/driver/nvidia/version")
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[0]
    return _output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") or None


def _output_of(*command: str) -> str | None:
    """What a program prints; None if it is not there or fails."""
    try:
        done = subprocess.run(  # noqa: S603  (fixed arguments)
            command, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
