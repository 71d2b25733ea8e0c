"""Workers that are actors of a Ray cluster: one GPU each where there are GPUs, else processors.

Ray places them and notices when a node is lost; records, locks and resuming are those of every
other run, so data, weights and the results folder lie where all nodes see them.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cdfss_bench.errors import UserError

from .crew import Answered, Died, Event, Stepped
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
        """Nothing, or the reason why this node cannot work."""
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
        """The result of a task; None if it was stopped."""
        assert self._worker is not None
        self._progress = (0, 0)
        try:
            return self._worker.perform(task, self._report)
        except KeyboardInterrupt:
            return None

    def progress(self) -> tuple[int, int]:
        """Finished episodes and their total; (0, 0) before the first is begun."""
        return self._progress

    def stop(self) -> None:
        """Ends the task at work after the episode at work."""
        self._stopped.set()

    def _report(self, done: int, total: int) -> None:
        self._progress = (done, total)
        if self._stopped.is_set():
            raise KeyboardInterrupt


@dataclass(slots=True)
class _Member:
    actor: Any
    answer: Any = None
    look: Any = None
    looked_at: float = 0.0
    told: tuple[int, int] = (0, 0)
    is_ready: bool = False


class RayCrew:
    """Actors of the cluster that `RAY_ADDRESS` names, of the one on this machine, or of a new one.

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
        self._ray = _imported()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            try:
                self._ray.init(log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"the Ray cluster does not answer: {str(error).splitlines()[0]}",
                    hint="start one (ray start --head) or name it with RAY_ADDRESS",
                ) from error
        there = self._ray.cluster_resources()
        has_gpus = there.get("GPU", 0) >= 1 and setup.settings.device != "cpu"
        device = setup.settings.device
        if device == "auto":
            device = "cuda" if has_gpus else "cpu"
        self._size = size or int(there["GPU"] if has_gpus else there["CPU"] // threads) or 1
        self._setup = replace(setup, settings=replace(setup.settings, device=device))
        self._resources = {"num_cpus": threads, "num_gpus": int(has_gpus)}
        self._tell = tell
        self._members: dict[int, _Member] = {}
        self._next = 0
        self._deaths_before_ready = 0
        self._idle_since: float | None = time.monotonic()
        self._token = f".seen-by-all-{socket.gethostname()}-{time.time_ns()}"
        setup.results.mkdir(parents=True, exist_ok=True)
        (setup.results / self._token).touch()

    @property
    def size(self) -> int:
        """How many tasks can be worked on at once."""
        return self._size

    def free(self) -> Sequence[int]:
        """Workers at rest; lost ones are replaced."""
        while len(self._members) < self._size:
            self._recruit()
        return [
            number
            for number, member in self._members.items()
            if member.is_ready and member.answer is None
        ]

    def give(self, worker: int, task: Task) -> None:
        """Hands a task to a worker."""
        member = self._members[worker]
        member.answer, member.told = member.actor.perform.remote(task), (0, 0)

    def events(self, seconds: float) -> Sequence[Event]:
        """What happened; waits at most so long for the first."""
        self._complain_of_waiting()
        now = time.monotonic()
        for member in self._members.values():
            is_due = member.look is None and now - member.looked_at >= _LOOK
            if member.is_ready and member.answer is not None and is_due:
                member.look, member.looked_at = _watched(member.actor.progress), now
        waiting = {
            ref: number
            for number, member in self._members.items()
            for ref in (member.answer, member.look)
            if ref is not None
        }
        if not waiting:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=seconds)
        return [event for ref in done for event in self._news(waiting[ref], ref)]

    def kill(self, worker: int) -> None:
        """Ends a worker; Ray answers for its process."""
        member = self._members.pop(worker)
        self._ray.kill(member.actor)
        try:
            self._ray.get(_watched(member.actor.progress), timeout=_PATIENCE)
        except self._ray.exceptions.RayError:
            return

    def stop(self) -> None:
        """Ends all workers; tasks at work are marked as interrupted where there is time."""
        at_work = [m for m in self._members.values() if m.is_ready and m.answer is not None]
        try:
            for member in at_work:
                _watched(member.actor.stop)
            if at_work:
                refs = [member.answer for member in at_work]
                self._ray.wait(refs, num_returns=len(refs), timeout=_PATIENCE)
        finally:
            for member in self._members.values():
                self._ray.kill(member.actor)
            self._members.clear()
            (self._setup.results / self._token).unlink(missing_ok=True)
            if self._is_ours:
                self._ray.shutdown()

    def _recruit(self) -> None:
        made = self._ray.remote(concurrency_groups={_WATCH: 1})(_Actor).options(
            **self._resources, max_restarts=0, scheduling_strategy="SPREAD"
        )
        member = _Member(made.remote(self._setup))
        member.answer = member.actor.ready.remote(self._token)
        self._members[self._next] = member
        self._next += 1

    def _news(self, number: int, ref: Any) -> list[Event]:
        member = self._members.get(number)
        if member is None:
            return []
        try:
            found = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            return self._lost(number, member, error)
        if ref is member.look:
            member.look = None
            if found[1] and found != member.told and member.answer is not None:
                member.told = found
                return [Stepped(number, *found)]
            return []
        member.answer = None
        if not member.is_ready:
            if found is not None:
                raise found
            member.is_ready, self._idle_since = True, None
            return []
        if found is None:
            raise KeyboardInterrupt
        return [Answered(number, found)]

    def _lost(self, number: int, member: _Member, error: Exception) -> list[Event]:
        del self._members[number]
        self._ray.kill(member.actor)
        if member.is_ready:
            return [Died(number, f"was lost with its Ray worker ({type(error).__name__})")]
        self._deaths_before_ready += 1
        if self._deaths_before_ready > self._size + 3:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"no worker of the Ray cluster can be started: {reason}",
                hint="install the same cdfss-bench[ray] on every node",
            ) from error
        return []

    def _complain_of_waiting(self) -> None:
        if self._idle_since is None or time.monotonic() - self._idle_since < _WAIT:
            return
        self._idle_since = None
        if self._tell is not None:
            wanted = ", ".join(f"{key[4:].upper()} {n}" for key, n in self._resources.items() if n)
            self._tell(f"waiting for the Ray cluster to give a worker ({wanted} each)")


def _watched(method: Any) -> Any:
    return method.options(concurrency_group=_WATCH).remote()


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--executor ray needs Ray, which is not installed",
            hint="pip install 'cdfss-bench[ray]'",
        ) from error
    return ray
