"""A bar with the time left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .talk import err_console, talk

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def bar(*, bytewise: bool = False) -> Progress:
    """A bar on standard error, gone when it is done: what, how much of it, the time left."""
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
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    return Progress(*columns, console=err_console(), transient=True)


@contextmanager
def progress(what: str, *, bytewise: bool = False) -> Generator[Callable[[int, int], None]]:
    """Shows how much of `what` is done.

    Args:
        what: the word before the bar.
        bytewise: whether bytes are counted.

    Yields:
        What is to be told (done, total); total 0 stands for unknown.
    """
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _QUIET:
                last = time.monotonic()
                talk(f"{what}: {done:,} of {f'{total:,}' if total else 'unknown'}")

        yield line
        return
    with bar(bytewise=bytewise) as shown:
        task = shown.add_task(what.replace("[", r"\["), total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)
