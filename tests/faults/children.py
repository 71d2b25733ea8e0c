"""Children that can be killed, starved or forbidden to write, forked from a clean server.

What a child does is a module-level function of `works.py` and its arguments; a fork costs
milliseconds where a new interpreter with torch costs seconds.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

from ..conftest import CHECKOUT

FILE_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"})


@dataclass(frozen=True)
class Moment:
    """When a child is killed: after so many seconds, or at its n-th operation on files."""

    seconds: float = 0.0
    operation: int = 0


@dataclass(frozen=True)
class Conditions:
    """What a child lives under.

    Attributes:
        environment: its variables of ours.
        moment: the file operation at which it kills itself, if one.
        unprivileged: whether even root must obey the modes of files.
        count_to: where it writes how many file operations it did.
        errors_to: where its traceback goes.
    """

    environment: Mapping[str, str]
    errors_to: Path
    moment: Moment = Moment()
    unprivileged: bool = False
    count_to: Path | None = None


@contextmanager
def server() -> Generator[ForkServerContext]:
    """The server, which finds the tests as a package whatever the working directory is."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "tests.faults.works"])
    sys.path.insert(0, str(CHECKOUT))
    try:
        yield context
    finally:
        sys.path.remove(str(CHECKOUT))


def start(work: Callable[..., Any], *arguments: Any, under: Conditions) -> BaseProcess:
    # Whatever the tests' process has loaded, the server imports for itself, once.
    with server() as context:
        child = context.Process(target=_live, args=(work, arguments, under))
        child.start()
    return child


def finish(child: BaseProcess, under: Conditions, seconds: float = 120) -> int:
    """The exit code of a child, negative for a signal; a hang or a traceback fails the test."""
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
        raise AssertionError("the child hangs")
    code = child.exitcode
    assert code is not None
    assert code != 1, under.errors_to.read_text()
    return code


def killed(work: Callable[..., Any], *arguments: Any, under: Conditions) -> bool:
    """Whether the child was killed at its moment, before it was done."""
    child = start(work, *arguments, under=under)
    if under.moment.seconds:
        child.join(under.moment.seconds)
        child.kill()
    return finish(child, under) == -signal.SIGKILL


def moments(number: int, seed: int, seconds: float, operations: int) -> Iterator[Moment]:
    """Seeded moments in a work of that length: half by the clock, half between two operations."""
    rng = Random(seed)
    for index in range(number):
        if index % 2:
            yield Moment(seconds=max(0.001, rng.uniform(0, 1.05 * seconds)))
        else:
            yield Moment(operation=rng.randint(1, operations))


def measured(work: Callable[..., Any], *arguments: Any, under: Conditions) -> tuple[float, int]:
    """Seconds and file operations of an undisturbed child."""
    assert under.count_to is not None
    began = time.perf_counter()
    assert finish(start(work, *arguments, under=under), under) == 0
    return time.perf_counter() - began, int(under.count_to.read_text())


def _live(work: Callable[..., Any], arguments: tuple[Any, ...], under: Conditions) -> None:
    os.environ.update(under.environment)
    if under.unprivileged:
        drop_rights()
    seen = 0

    def watch(event: str, _arguments: object) -> None:
        nonlocal seen
        if event in FILE_EVENTS:
            seen += 1
            if seen == under.moment.operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        work(*arguments)
        if under.count_to is not None:
            under.count_to.write_text(str(seen))
    except BaseException:
        under.errors_to.write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def drop_rights() -> None:
    """Gives up root's right to ignore the modes of files (Linux capabilities 1, 2 and 3)."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    words = ctypes.c_uint32 * 6
    header, data = Header(0x20080522, 0), words()
    if libc.capget(ctypes.byref(header), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    data[0] &= ~0b1110
    if libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


@contextmanager
def read_only(folder: Path) -> Generator[None]:
    """A tree that nobody may write to, but root."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path, mode in modes.items():
            with contextlib.suppress(FileNotFoundError):
                path.chmod(mode)
