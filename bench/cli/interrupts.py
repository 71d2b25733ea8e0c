"""Ctrl-C once stops in order; twice leaves at once. Neither loses a finished episode."""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import typer

from .console import talk

_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def ending_with(told: str) -> Generator[None]:
    """On Ctrl-C says what is kept, and ends with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        talk(f"interrupted: {told}")
        raise typer.Exit(130) from None


def leave_on_second_interrupt() -> None:
    """From now on the first Ctrl-C is a `KeyboardInterrupt`, the second the end."""
    # Who started us may have us ignore it (`nohup`, a background job): that is left as it is.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _first)


def _first(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _second)
    raise KeyboardInterrupt


def _second(_number: int, _frame: FrameType | None) -> None:
    # Files are whole at any moment, so nothing must be waited for; a hidden cursor would stay.
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), f"{_SHOW_CURSOR}\n".encode())
    os._exit(130)
