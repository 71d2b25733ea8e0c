"""How long a piece of work takes, as percentiles: device events, or torch's timer on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from ..runtime.accelerator import accelerator
from ..runtime.memory import is_out_of_memory

T = TypeVar("T")

MOST_EPISODES = 64
"""The largest batch that is tried."""

_LEAST_RUNS, _MOST_RUNS, _WARM_UP, _MILLISECONDS = 3, 100, 3, 200.0
_GAIN = 1.03
"""By which twice the batch must do better, or it has stopped paying."""

Latency = dict[str, float]
"""`p50`, `p90` and `p99` in milliseconds, and how many `runs` they are of."""


def latency(work: Callable[[], object], device: str) -> Latency:
    """Percentiles of at least 3 runs after a warm-up, of more where they are short.

    Args:
        work: what is timed; on an accelerator its launches and waits are part of it.
        device: `cpu`, timed by `torch.utils.benchmark` with the threads that are set, or `cuda`,
            timed by events on its stream.
    """
    if accelerator(device) is not None:
        return percentiles(_by_events(work, device, warm_up=_WARM_UP, least_ms=_MILLISECONDS))
    return percentiles(_by_timer(work))


def single(work: Callable[[], object], device: str) -> Latency:
    """One run without a warm-up, for what takes tens of steps and has just been run."""
    if accelerator(device) is not None:
        return percentiles(_by_events(work, device, warm_up=0, least_ms=0.0, least_runs=1))
    began = time.perf_counter()
    work()
    return percentiles([1000 * (time.perf_counter() - began)])


class OwnTime:
    """How much of the time of its block the measuring thread had a processor.

    Attributes:
        share: from 0 to 1, rounded to three decimals. The thread computes, or waits for the threads
            that share its work: what is missing went to other programs, or to waiting for them.
    """

    share: float = 1.0

    def __enter__(self) -> OwnTime:
        self._wall, self._own = time.perf_counter(), time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, own = time.perf_counter() - self._wall, time.thread_time() - self._own
        self.share = round(min(own / wall, 1.0), 3) if wall > 0 else 1.0


def percentiles(times: Sequence[float]) -> Latency:
    """Of milliseconds, rounded to a microsecond."""
    found = np.percentile(times, (50, 90, 99))
    values = {
        name: round(float(t), 3) for name, t in zip(("p50", "p90", "p99"), found, strict=True)
    }
    return {**values, "runs": len(times)}


def added(first: Latency, *others: Latency) -> Latency:
    """Work after work: medians of the others on top of every percentile."""
    extra = sum(other["p50"] for other in others)
    whole = {name: round(first[name] + extra, 3) for name in ("p50", "p90", "p99")}
    return {**whole, "runs": min(part["runs"] for part in (first, *others))}


def best_batch(rate: Callable[[int], float | None], most: int = MOST_EPISODES) -> int:
    """Of 1, 2, 4, ... the batch with the most episodes per second.

    Args:
        rate: episodes per second at a batch; None where it does not fit into memory.
        most: the largest to try. It ends earlier where twice as many pay less than 3 %.
    """
    best, found, size = 1, rate(1), 2
    while found is not None and size <= most:
        now = rate(size)
        if now is None or now < _GAIN * found:
            break
        best, found, size = size, now, 2 * size
    return best


def at_most(size: int, compute: Callable[[int], T]) -> T:
    """What `compute` gives for `size`, or for half as many, and so on where memory is too small.

    Raises:
        RuntimeError: if not even one fits, or for any other reason than memory.
    """
    while size > 1:
        found = fitting(partial(compute, size))
        if found is not None:
            return found
        size //= 2
    return compute(1)


def fitting(compute: Callable[[], T]) -> T | None:
    """What `compute` gives; None where it does not fit into memory."""
    try:
        return compute()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside of the handler: the error's frames hold what shall be freed.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def episodes_per_second(work: Callable[[], object], size: int, device: str) -> float | None:
    """Of `work` on `size` episodes on an accelerator; None where its memory is too small."""
    times = fitting(lambda: _by_events(work, device, warm_up=1, least_ms=0.0))
    return None if times is None else 1000 * size / float(np.median(times))


def _by_timer(work: Callable[[], object]) -> list[float]:
    from torch.utils.benchmark import Timer  # a tenth of a second to import

    began = time.perf_counter()
    work()
    # A first run finds memory and chooses kernels; what is left is at least three more.
    span = max(_MILLISECONDS / 1000, (_LEAST_RUNS - 0.5) * (time.perf_counter() - began))
    timer = Timer(
        "work()",
        globals={"work": work},
        num_threads=torch.get_num_threads(),
        timer=time.perf_counter,
    )
    times: list[float] = []
    while len(times) < _LEAST_RUNS:
        times += timer.blocked_autorange(min_run_time=span).times
    return [1000 * seconds for seconds in times]


def _by_events(
    work: Callable[[], object],
    device: str,
    *,
    warm_up: int,
    least_ms: float,
    least_runs: int = _LEAST_RUNS,
) -> list[float]:
    """Milliseconds of each run; the device is idle when one begins, as for a single request."""
    times: list[float] = []
    module = accelerator(device)
    with module.device(device):
        for _ in range(warm_up):
            began = time.perf_counter()
            work()
            module.synchronize()
            if 1000 * (time.perf_counter() - began) > _MILLISECONDS:
                break  # what is long is warm after once
        while len(times) < least_runs or (sum(times) < least_ms and len(times) < _MOST_RUNS):
            begin, end = (module.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    return times
