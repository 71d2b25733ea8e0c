"""Workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import cast

import torch

from cdfss_bench.errors import UserError

from ..evaluation.evaluator import Settings
from .crew import Answered, Died, Event, Stepped
from .work import Setup, Task, TaskResult, Worker

_PATIENCE = 10.0
"""Seconds that workers have to mark their record as interrupted."""

_POOLS: tuple[str, ...] = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(slots=True)
class _Member:
    process: BaseProcess
    pipe: Connection
    slot: int
    at_work: bool = False


class ProcessCrew:
    """Workers in processes of their own, started when they are first needed.

    Nothing is inherited but the environment (the start method is `spawn`): a process that holds a
    GPU cannot be forked. The budget of features is shared out; on GPUs each worker has its own
    device, as far as they go.

    Args:
        setup: for all workers.
        size: how many.
        threads: of each.
    """

    def __init__(self, setup: Setup, size: int, threads: int):
        self._setup = setup
        self._size = size
        self._threads = threads
        self._settings = settings_of(setup.settings, size)
        self._members: dict[int, _Member] = {}
        self._next = 0

    @property
    def size(self) -> int:
        """How many tasks can be worked on at once."""
        return self._size

    def free(self) -> Sequence[int]:
        """Workers at rest, then one that can be started."""
        resting = [number for number, member in self._members.items() if not member.at_work]
        if len(self._members) < self._size:
            resting.append(self._next)
        return resting

    def give(self, worker: int, task: Task) -> None:
        """Hands a task to a worker, which is started if it is new."""
        if worker not in self._members:
            self._members[worker] = self._started()
            self._next = worker + 1
        member = self._members[worker]
        member.at_work = True
        # A worker that died just now is found dead by `events`.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            member.pipe.send(task)

    def events(self, seconds: float) -> Sequence[Event]:
        """What happened; waits at most so long for the first."""
        sources = [
            source for m in self._members.values() for source in (m.pipe, m.process.sentinel)
        ]
        connection.wait(sources, seconds) if sources else time.sleep(seconds)
        return [event for number in list(self._members) for event in self._news(number)]

    def kill(self, worker: int) -> None:
        """Ends a worker at once; its locks are free when this returns."""
        member = self._members.pop(worker)
        member.process.kill()
        member.process.join()
        member.pipe.close()

    def stop(self) -> None:
        """Ends all workers; tasks at work are marked as interrupted where there is time."""
        for member in self._members.values():
            member.process.terminate()
        deadline = time.monotonic() + _PATIENCE
        try:
            for member in self._members.values():
                member.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            # A second Ctrl-C ends the patience.
            for number in list(self._members):
                self.kill(number)

    def _news(self, number: int) -> list[Event]:
        member = self._members[number]
        news: list[Event] = []
        try:
            while member.pipe.poll():
                match member.pipe.recv():
                    case TaskResult() as answer:
                        member.at_work = False
                        news.append(Answered(number, answer))
                    case UserError() as error:
                        raise error
                    case (int() as done, int() as total):
                        news.append(Stepped(number, done, total))
                    case other:
                        raise AssertionError(f"a worker sent {other!r}")
        except (EOFError, ConnectionResetError):
            member.process.join()
        if not member.process.is_alive():
            self._members.pop(number).pipe.close()
            news.append(Died(number, _end_of(member.process.exitcode)))
        return news

    def _started(self) -> _Member:
        taken = {member.slot for member in self._members.values()}
        slot = next(slot for slot in range(self._size) if slot not in taken)
        setup = replace(self._setup, settings=self._settings[slot])
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(target=_work, args=(theirs, setup), daemon=True)
        threads = {name: str(self._threads) for name in _POOLS}
        with _variables(threads), _deaf_to_interrupts():
            process.start()
        theirs.close()
        return _Member(process, ours, slot)


def settings_of(settings: Settings, size: int) -> list[Settings]:
    """Each worker's settings: the budget shared out, one GPU each as far as they go.

    Args:
        settings: of the command.
        size: how many workers.
    """
    devices = [settings.device]
    if settings.device == "cuda":
        devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    # What lies in main memory, or on one device, is shared by the workers there.
    sharing = -(-size // len(devices))
    budget = settings.budget // sharing
    return [
        replace(settings, device=devices[slot % len(devices)], budget=budget)
        for slot in range(size)
    ]


def _work(pipe: Connection, setup: Setup) -> None:
    """Run in the worker process: perform tasks until it is told to stop."""
    # Ctrl-C reaches the whole group; the process that was typed says what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupted)

    def report(done: int, total: int) -> None:
        try:
            pipe.send((done, total))
        except OSError:
            # Whoever wanted to know is gone: the record says interrupted, the lock is released.
            raise KeyboardInterrupt from None

    try:
        try:
            worker = Worker(setup)
        except UserError as error:
            pipe.send(error)
            return
        while True:
            pipe.send(worker.perform(cast("Task", pipe.recv()), report))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_of(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    told = " (so ends what takes too much memory)" if name == "SIGKILL" else ""
    return f"was ended by {name}{told}"


@contextmanager
def _variables(values: Mapping[str, str]) -> Generator[None]:
    """Environment variables for what is started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """What is started inside ignores Ctrl-C from its first instant on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
