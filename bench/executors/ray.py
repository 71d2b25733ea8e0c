"""Workers that are actors of a Ray cluster: one GPU each where there are GPUs, else processors.

Ray places them and notices when a node is lost; records, locks and resuming are those of every
other run, so data, weights and the results folder lie where all nodes see them.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cdfss_bench.errors import UserError

from .pool import ATTEMPTS, News, Slot, WorkerDied
from .work import Setup, Task, TaskResult, Worker

_PATIENCE = 10.0
_LOOK = 1.0
"""Seconds between two looks at a worker's progress."""

_WATCH = "watch"
"""The group of methods that answer while a task is at work."""

_WAIT = 30.0
"""Seconds without any worker after which the user is told."""


class _Actor:
    """A worker inside Ray: `perform` in one thread, `progress` and `stop` in another."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._worker: Worker | None = None
        self._progress = (0, 0)
        self._stopped = threading.Event()

    def ready(self, token: str) -> UserError | None:
        try:
            self._worker = Worker(self._setup)
        except UserError as error:
            return UserError(error.problem, hint=error.hint)
        if not (self._setup.results / token).is_file():
            return UserError(
                f"the Ray node {socket.gethostname()} does not see the results folder "
                f"{self._setup.results}",
                hint="name one that all nodes share with --results DIR",
            )
        return None

    def perform(self, task: Task) -> TaskResult | None:
        assert self._worker is not None
        self._progress = (0, 0)
        try:
            return self._worker.perform(task, self._report)
        except KeyboardInterrupt:
            return None

    def progress(self) -> tuple[int, int]:
        return self._progress

    def stop(self) -> None:
        self._stopped.set()

    def _report(self, done: int, total: int) -> None:
        self._progress = (done, total)
        if self._stopped.is_set():
            raise KeyboardInterrupt


class RayCluster:
    """The cluster that `RAY_ADDRESS` names, the one on this machine, or a new one.

    Args:
        setup: for all workers; a device `auto` becomes a GPU where the cluster has any.
        size: how many workers; 0 takes one per GPU, or one per `threads` processors.
        threads: of each worker.
        tell: hears a sentence while there is nothing but waiting.

    Raises:
        UserError: if Ray is not installed, or its cluster does not answer.
    """

    def __init__(
        self, setup: Setup, size: int, threads: int, tell: Callable[[str], None] | None = None
    ):
        try:
            import ray
        except ImportError as error:
            raise UserError(
                "--executor ray needs Ray, which is not installed",
                hint="pip install 'cdfss-bench[ray]'",
            ) from error
        self.ray: Any = ray
        self._is_ours = not self.ray.is_initialized()
        if self._is_ours:
            try:
                self.ray.init(log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"the Ray cluster does not answer: {str(error).splitlines()[0]}",
                    hint="start one (ray start --head) or name it with RAY_ADDRESS",
                ) from error
        there = self.ray.cluster_resources()
        has_gpus = there.get("GPU", 0) >= 1 and setup.settings.device != "cpu"
        device = setup.settings.device
        if device == "auto":
            device = "cuda" if has_gpus else "cpu"
        self.setup = replace(setup, settings=replace(setup.settings, device=device))
        self._resources = {"num_cpus": threads, "num_gpus": int(has_gpus)}
        size = size or int(there["GPU"] if has_gpus else there["CPU"] // threads) or 1
        self.slots: list[Slot] = [_ActorSlot(self) for _ in range(size)]
        self._tell = tell
        self._began, self.is_waiting = time.monotonic(), True
        self._token = f".seen-by-all-{socket.gethostname()}-{time.time_ns()}"
        setup.results.mkdir(parents=True, exist_ok=True)
        (setup.results / self._token).touch()

    def recruit(self) -> tuple[Any, Any]:
        """A new actor, and what will tell whether it can work."""
        made = self.ray.remote(concurrency_groups={_WATCH: 1})(_Actor).options(
            **self._resources, max_restarts=0, scheduling_strategy="SPREAD"
        )
        actor = made.remote(self.setup)
        return actor, actor.ready.remote(self._token)

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends."""
        (self.setup.results / self._token).unlink(missing_ok=True)
        if self._is_ours:
            self.ray.shutdown()

    def complain_of_waiting(self) -> None:
        """Tells, once, that the cluster has given no worker for long."""
        if self.is_waiting and self._tell is not None and time.monotonic() - self._began > _WAIT:
            self.is_waiting = False
            wanted = ", ".join(f"{key[4:].upper()} {n}" for key, n in self._resources.items() if n)
            self._tell(f"waiting for the Ray cluster to give a worker ({wanted} each)")


class _ActorSlot:
    def __init__(self, cluster: RayCluster):
        self._cluster = cluster
        self._ray = cluster.ray
        self._actor: Any = None
        self._ready: Any = None
        self._lost_early = 0

    def is_ready(self) -> bool:
        if self._actor is None:
            self._actor, self._ready = self._cluster.recruit()
        if self._ready is None:
            return True
        if not self._ray.wait([self._ready], timeout=0)[0]:
            self._cluster.complain_of_waiting()
            return False
        try:
            refusal = self._ray.get(self._ready)
        except self._ray.exceptions.RayError as error:
            self._forget()
            self._lost_early += 1
            if self._lost_early < ATTEMPTS:
                return False
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"no worker of the Ray cluster can be started: {reason}",
                hint="install the same cdfss-bench[ray] on every node",
            ) from error
        if refusal is not None:
            raise refusal
        self._ready, self._cluster.is_waiting = None, False
        return True

    def perform(self, task: Task) -> Iterator[News]:
        told = (0, 0)
        try:
            answer, look = self._actor.perform.remote(task), _watched(self._actor.progress)
            while not self._ray.wait([answer], timeout=_LOOK)[0]:
                news = None
                if self._ray.wait([look], timeout=0)[0]:
                    found, look = self._ray.get(look), _watched(self._actor.progress)
                    if found != told:
                        news = told = found
                yield news
            result = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._forget()
            raise WorkerDied(f"was lost with its Ray worker ({type(error).__name__})") from error
        if result is None:
            raise WorkerDied("was stopped")
        yield result

    def interrupt(self) -> None:
        if self._actor is not None and self._ready is None:
            _watched(self._actor.stop)

    def kill(self) -> None:
        actor, was_ready = self._actor, self._ready is None
        self._forget()
        if actor is not None and was_ready:
            # Ray answers for its process.
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.get(_watched(actor.progress), timeout=_PATIENCE)

    def _forget(self) -> None:
        if self._actor is not None:
            self._ray.kill(self._actor)
        self._actor = self._ready = None


def _watched(method: Any) -> Any:
    return method.options(concurrency_group=_WATCH).remote()
