"""Standard output carries data, standard error talk."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cdfss_bench.errors import UserError

    from ..reporting.text_table import TextTable

_PAPER = 300
"""Characters of a line where there is no terminal; longer texts wrap, numbers never do."""


def talk(sentence: str) -> None:
    """One line for the person at the terminal."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """Data, for the person or the next program."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def complain(error: UserError) -> None:
    """A mistake and how to correct it, without a traceback."""
    talk(f"error: {error.problem}")
    if error.hint:
        talk(f"  hint: {error.hint}")


@contextmanager
def left_out() -> Generator[list[UserError]]:
    """What the block leaves out is told at its end, and the exit code is 2.

    One record that cannot be read must not hide the others.
    """
    found: list[UserError] = []
    try:
        yield found
    finally:
        for error in found:
            complain(error)
    if found:
        talk(f"{len(found)} record{'s are' if len(found) > 1 else ' is'} left out")
        raise typer.Exit(2)


def show(*tables: TextTable, wide: bool = False) -> None:
    """Tables on standard output, within the terminal; whole where there is none, or if `wide`."""
    _show(tables, sys.stdout, wide=wide)


def show_aside(*tables: TextTable) -> None:
    """As `show`, on standard error: for the person, no part of the data."""
    _show(tables, sys.stderr, wide=False)


def _show(tables: Sequence[TextTable], stream: TextIO, *, wide: bool) -> None:
    from rich.console import Console

    from ..reporting.screen_table import as_rich, least_width

    screen = Console(file=stream)
    if stream.isatty():
        for table in tables:
            drawn = as_rich(table, None if wide else screen.width)
            screen.print(drawn, crop=False, highlight=False)
        return
    # Colours may be forced upon a file; a width is not: whoever reads it wants whole lines.
    paper = Console(
        file=io.StringIO(),
        force_terminal=screen.is_terminal,
        no_color=None if screen.is_terminal else True,
        width=_PAPER,
    )
    for table in tables:
        drawn = as_rich(table, max(_PAPER, least_width(table)))
        paper.print(drawn, highlight=False, soft_wrap=True)
    text = cast("io.StringIO", paper.file).getvalue()
    stream.write("".join(f"{line.rstrip()}\n" for line in text.splitlines()))


@lru_cache(maxsize=1)
def err_console() -> Console:
    """For progress on standard error; the same one always, which keeps two bars apart."""
    from rich.console import Console

    return Console(stderr=True)
