"""Where long work tells how far it is: a library stays silent, the command line shows it.

Work that may take seconds begins deep inside (a data set is hashed when its fingerprint is first
asked for). Whoever has a screen says once how progress is shown; nobody passes a listener down.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

Listener = Callable[[int, int], None]
"""Told (done, total)."""

Display = Callable[[str], AbstractContextManager[Listener]]
"""Shows the progress of what it is named."""


@contextmanager
def _silent(what: str) -> Generator[Listener]:
    del what
    yield lambda done, total: None


_display: Display = _silent


def show_progress_with(display: Display | None) -> None:
    """Sets how this process shows the progress of long work; None shows nothing."""
    global _display
    _display = display or _silent


def progress_of(what: str) -> AbstractContextManager[Listener]:
    """Yields the listener that long work tells (done, total)."""
    return _display(what)
