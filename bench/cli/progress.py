"""A bar with the time left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from .console import err_console, talk

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET = 10.0
"""Seconds between two lines of progress where there is no terminal."""

_PATIENCE = 1.0
"""Seconds of work that nobody needs to be told of."""


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
        yield _lines(what, quiet_until=time.monotonic() + _QUIET)
        return
    with bar(bytewise=bytewise) as shown:
        task = shown.add_task(what.replace("[", r"\["), total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


@contextmanager
def patient_progress(what: str) -> Generator[Callable[[int, int], None]]:
    """As `progress`, once the work takes longer than a second.

    Args:
        what: the word before the bar.

    Yields:
        What is to be told (done, total).
    """
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
