"""How `data prepare` and `data fetch` show what they do and what came of it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .talk import err_console, show, talk

if TYPE_CHECKING:
    from cdfss_bench.datasets.preparing.work import Summary

SHOWN = 20
"""Sentences of a kind that are shown; the rest is counted (`--json` has all)."""


_QUIET = 10.0
"""Seconds between two lines of progress where there is no terminal."""


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], None]]:
    """A bar with the time left on a terminal, now and then a line elsewhere."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _QUIET:
                last = time.monotonic()
                talk(f"{what}: {done:,} of {total:,}")

        yield line
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err_console(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_summary(summary: Summary) -> None:
    """The table of what was made, then what was odd, then what could not be used."""
    from rich.table import Table

    table = Table(title=f"{summary.domain} in {summary.folder}", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for what, count in sorted(summary.counts.items()):
        table.add_row(what, f"{count:,}")
    table.add_row("files", f"{summary.files:,}", end_section=True)
    table.add_row("units made now", f"{summary.made:,}")
    table.add_row("units that were already done", f"{summary.kept:,}")
    table.add_row("left out or odd", f"{len(summary.odd):,}")
    table.add_row("could not be used", f"{len(summary.problems):,}", end_section=True)
    table.add_row("profile", summary.profile)
    table.add_row("fingerprint", summary.fingerprint[:16])
    show(table)
    _list_some("left out or odd", summary.odd)
    _list_some("could not be used", summary.problems)
    if summary.problems:
        talk("  mend: replace those files, then type the same command: the rest is kept")


def _list_some(title: str, sentences: Sequence[str]) -> None:
    if not sentences:
        return
    talk(f"{title}:")
    for sentence in sentences[:SHOWN]:
        talk(f"  - {sentence}")
    if len(sentences) > SHOWN:
        talk(f"  - and {len(sentences) - SHOWN} more (--json shows all)")


def look_at(summary: Summary) -> str:
    """The command that shows pictures of what was prepared."""
    words = ["cdfss-bench", "data", "show", summary.domain]
    root = str(summary.folder.parent)
    return shlex.join([*words, "--data-root", root, "-o", f"{summary.domain}.png"])


def refuse_absent(places: Iterable[Path]) -> None:
    """Refuses a list or table that was named but is not there.

    Raises:
        UserError: naming it.
    """
    from cdfss_bench.errors import UserError

    for place in places:
        if not place.exists():
            raise UserError(f"{place} does not exist", mend="name another file or folder")
