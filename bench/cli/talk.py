"""Standard output carries data, standard error talk."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from cdfss_bench.errors import UserError


def talk(sentence: str) -> None:
    """One line for the person at the terminal."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """Data, for the person or the next program."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def complain(error: UserError) -> None:
    """A mistake and how to mend it, without a traceback."""
    talk(f"error: {error.problem}")
    if error.mend:
        talk(f"  mend: {error.mend}")


def show(*drawings: RenderableType) -> None:
    """Tables on standard output; as wide as they need where there is no terminal."""
    _show(drawings, sys.stdout)


def show_aside(*drawings: RenderableType) -> None:
    """As `show`, on standard error: for the person, no part of the data."""
    _show(drawings, sys.stderr)


def _show(drawings: Sequence[RenderableType], stream: TextIO) -> None:
    from rich.console import Console

    screen = Console(file=stream)
    if screen.is_terminal:
        for drawing in drawings:
            screen.print(drawing)
        return
    paper = Console(file=io.StringIO(), width=300, no_color=True)
    for drawing in drawings:
        paper.print(drawing, highlight=False)
    text = cast("io.StringIO", paper.file).getvalue()
    stream.write("".join(f"{line.rstrip()}\n" for line in text.splitlines()))


@lru_cache(maxsize=1)
def err_console() -> Console:
    """For progress on standard error; the same one always, which keeps two bars apart."""
    from rich.console import Console

    return Console(stderr=True)
