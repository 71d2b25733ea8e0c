"""Workers that are processes of this machine."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

import torch

from cdfss_bench.errors import UserError

from ..evaluation.evaluator import Settings
from .pool import TICK, News, Slot, WorkerDied
from .work import Setup, Task, Worker

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def process_slots(setup: Setup, size: int, threads: int) -> tuple[list[Slot], Callable[[], None]]:
    """Room for so many workers, in processes that are started when they are first needed.

    Nothing is inherited but the environment (the start method is `spawn`): a process that holds a
    GPU cannot be forked.

    Returns:
        The slots, and what puts the environment back once no more workers are started.
    """
    # They are read when a worker loads its libraries; this process has loaded its own.
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))

    def put_back() -> None:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

    slots = [_ProcessSlot(replace(setup, settings=s)) for s in settings_of(setup.settings, size)]
    return [*slots], put_back


def settings_of(settings: Settings, size: int) -> list[Settings]:
    """Each worker's settings: the budget of features shared out, one GPU each as far as they go."""
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


class _ProcessSlot:
    def __init__(self, setup: Setup):
        self._setup = setup
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def is_ready(self) -> bool:
        if self._process is None or not self._process.is_alive():
            context = get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_work, args=(theirs, self._setup), daemon=True)
            self._process.start()
            theirs.close()
        return True

    def perform(self, task: Task) -> Iterator[News]:
        assert self._process is not None
        assert self._pipe is not None
        # A pipe that is closed is a worker that is gone.
        with contextlib.suppress(EOFError, OSError):
            self._pipe.send(task)
            # What it sent before it died is still read.
            while self._pipe.poll(TICK) or self._process.is_alive():
                news = self._pipe.recv() if self._pipe.poll() else None
                if isinstance(news, UserError):
                    raise news
                yield news
        self._process.join()
        raise WorkerDied(_end_of(self._process.exitcode))

    def interrupt(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


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
            pipe.send(worker.perform(pipe.recv(), report))
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
