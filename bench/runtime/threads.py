"""How many threads compute, and whether they sleep or spin while they wait.

Threads of a parallel region wait for the last of them. By default they spin, which is faster on an
idle machine; where other processes want the same processors, the one that is waited for does not
run because the others spin, and a run of seconds takes minutes. So they spin for a moment and then
sleep, and work whose parts are too small to gain from a second thread gets one.
"""

import os
import sys
from pathlib import Path

SMALL = 192
"""Side of an image in pixels up to which one thread is as fast as several."""

SPINS = 20_000
"""Turns for which a thread of libgomp spins before it sleeps; 300,000 where nothing is said. More
is faster alone and slower beside other programs: docs/speed.md has both."""

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_COUNTING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CGROUP = Path("/sys/fs/cgroup")

_asked: list[int] = []
"""The number that this process was told, if it was told one."""


def wait_asleep() -> None:
    """Lets the threads of this process and of those that it starts sleep while they wait for long.

    It acts on the environment, which the thread library reads when torch is loaded: call it before.
    Nothing happens where the user chose a policy (OMP_WAIT_POLICY, GOMP_SPINCOUNT, KMP_BLOCKTIME).
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """Processors that this process may use: its affinity, at most the quota of its control group.

    Args:
        cgroup: where the quota is read, of version 2 (`cpu.max`) or 1 (`cpu/cpu.cfs_quota_us`).
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # neither on macOS nor on Windows
        count = os.cpu_count() or 1
    quota = _quota(cgroup)
    return count if quota is None else max(1, min(count, int(quota)))


def set_threads(count: int) -> None:
    """Computes with `count` threads from now on, whatever the size of the work."""
    import torch

    _asked[:] = [count]
    torch.set_num_threads(count)


def fit_threads(image_size: int, images: int = 1) -> int:
    """Chooses the number of threads by the size of the work and sets it; the number.

    Nothing changes after `set_threads`, nor where OMP_NUM_THREADS or MKL_NUM_THREADS is set.

    Args:
        image_size: side of the images in pixels.
        images: how many are computed together.
    """
    import torch

    if not _asked and not any(os.environ.get(name) for name in _COUNTING):
        is_small = image_size**2 * images <= SMALL**2
        torch.set_num_threads(1 if is_small else available_cpus())
    return torch.get_num_threads()


def _quota(cgroup: Path) -> float | None:
    try:
        allowed, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            allowed = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        found = float(allowed) / float(period)
    except ValueError:  # "max": no limit
        return None
    return found if found > 0 else None  # -1: no limit in version 1
