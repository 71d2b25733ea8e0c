"""A bar with the time left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from .console import err_console, talk

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PERIOD = 30.0
"""Seconds between two lines of a run or a training where there is no terminal."""

_QUIET = 10.0
"""Seconds between two lines of other work there."""

_PATIENCE = 1.0
"""Seconds of work that nobody needs to be told of."""


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = f"{minutes // 60} h"
    return f"{hours} {minutes % 60} min" if minutes % 60 and minutes < 24 * 60 else hours


def bar(*, bytewise: bool = False, own_time: bool = False) -> Progress:
    """A bar on standard error, gone when it is done: what, how much of it, the time left.

    With `bytewise` it counts bytes; with `own_time` each task has its time left in a field `left`.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = (DownloadColumn(), TransferSpeedColumn()) if bytewise else (MofNCompleteColumn(),)
    left = TextColumn("{task.fields[left]}") if own_time else TimeRemainingColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, left)
    return Progress(*columns, console=err_console(), transient=True)


@contextmanager
def progress(what: str, *, bytewise: bool = False) -> Generator[Callable[[int, int], None]]:
    """Shows how much of `what` is done; it is told (done, total), total 0 for unknown."""
    if not sys.stderr.isatty():
        yield _lines(what, quiet_until=time.monotonic() + _QUIET)
        return
    with bar(bytewise=bytewise) as shown:
        yield counting(shown, what)


def counting(shown: Progress, what: str) -> Callable[..., None]:
    """What a task of a bar is to be told (done, total), a new description if there is one.

    It appears with what it is told first, which an earlier run may have done: that is no speed.
    """
    task: TaskID | None = None

    def tell(done: int, total: int, description: str = what) -> None:
        nonlocal task
        words, whole = description.replace("[", r"\["), total or None
        if task is None:
            task = shown.add_task(words, total=whole, completed=done)
        else:
            shown.update(task, completed=done, total=whole, description=words)

    return tell


@contextmanager
def patient_progress(what: str) -> Generator[Callable[[int, int], None]]:
    """As `progress`, once the work takes longer than a second."""
    from rich.errors import LiveError

    began = time.monotonic()
    shown: Callable[[int, int], None] | None = None
    with ExitStack() as screen:

        def tell(done: int, total: int) -> None:
            nonlocal shown
            if shown is None and time.monotonic() - began > _PATIENCE:
                shown = _lines(what)
                if sys.stderr.isatty():
                    # Inside another bar older versions of rich draw none: then lines will do.
                    with suppress(LiveError):
                        shown = screen.enter_context(progress(what))
            if shown is not None:
                shown(done, total)

        yield tell


def _lines(what: str, quiet_until: float = 0.0) -> Callable[[int, int], None]:
    def line(done: int, total: int) -> None:
        nonlocal quiet_until
        if time.monotonic() > quiet_until:
            quiet_until = time.monotonic() + _QUIET
            talk(f"{what}: {done:,} of {f'{total:,}' if total else 'unknown'}")

    return line
