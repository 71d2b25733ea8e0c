"""Standard output carries data, standard error talk."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cdfss_bench.errors import UserError

    from ..reporting.text_table import TextTable

_SCREEN = 80
"""Characters of a line where there is no terminal."""


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
    """Tables on standard output, within the width of the screen, or whole if `wide`."""
    _show(tables, sys.stdout, wide=wide)


def show_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[str] = (),
    secondary: Sequence[str] = (),
    wide: bool = False,
) -> None:
    """Finished text as one table on standard output, within the screen or whole if `wide`.

    `numeric` are headers of right-aligned columns, `secondary` those that a narrow screen may lack,
    the least needed first.
    """
    from ..reporting.text_table import TextTable

    at = frozenset(headers.index(name) for name in numeric)
    whole = "--wide or --json"
    show(TextTable("", headers, rows, at, secondary=secondary, whole=whole), wide=wide)


def show_aside(*tables: TextTable) -> None:
    """As `show`, on standard error: for the person, no part of the data."""
    _show(tables, sys.stderr, wide=False)


def _show(tables: Sequence[TextTable], stream: TextIO, *, wide: bool) -> None:
    from rich.console import Console

    from ..reporting.screen_table import as_rich

    width = None if wide else screen_width(stream)
    screen = Console(file=stream, width=width or _SCREEN)
    for number, table in enumerate(tables):
        screen.print("\n" if number else "", end="")
        screen.print(as_rich(table, width), crop=False, highlight=False, soft_wrap=True)


def screen_width(stream: TextIO) -> int:
    """Characters of a line: as COLUMNS says, else of the terminal; 80 where there is none."""
    typed = os.environ.get("COLUMNS", "")
    if typed.isdigit() and int(typed):
        return int(typed)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _SCREEN
    except (OSError, ValueError):
        return _SCREEN


@lru_cache(maxsize=1)
def err_console() -> Console:
    """For progress on standard error; the same one always, which keeps two bars apart."""
    from rich.console import Console

    return Console(stderr=True)
