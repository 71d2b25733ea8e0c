"""`cdfss-bench runs`: list records, remove some, or all that are of no more use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdfss_bench.words import plural, readable_size

from .command_group import CommandGroup
from .completion import complete_runs
from .console import left_out, show, talk
from .list import runs as list_runs
from .option_groups import expand_groups
from .options import AsJson, Plugins, Results, Wide, add_plugins
from .record_filter import LIMITS, RecordOptions, record_filter

if TYPE_CHECKING:
    from cdfss_bench.errors import UserError

    from ..comparison.removable import Removable

app = typer.Typer(cls=CommandGroup, invoke_without_command=True)

Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Remove them; otherwise they are only shown."),
]


@app.callback()
def runs(
    context: typer.Context,
    results: Results = Path("results"),
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """List recorded cells (as `list runs`), or remove some of them."""
    if context.invoked_subcommand is None:
        list_runs(results=results, wide=wide, as_json=as_json)


@app.command()
@expand_groups
def rm(
    which: Annotated[
        list[str],
        typer.Argument(
            help="Method, NAME:HASH, id of a cell, or its folder; a pattern such as 'ssp*' too.",
            metavar="RUN",
            autocompletion=complete_runs,
        ),
    ],
    options: Annotated[RecordOptions, LIMITS],
    results: Results = Path("results"),
    yes: Yes = False,
) -> None:
    """Remove records with their episodes; -d, -k and the like limit which.

    Shows what would be removed; --yes removes it. A cell on which a process works is never removed.
    """
    from ..comparison.removable import Removable, meant, removable_of
    from ..records.removal import is_running, size_of
    from ..records.results import run_results

    add_plugins(options.plugins)
    damaged: list[UserError] = []
    every = run_results(results, damaged.append)
    found = list(filter(record_filter(options, every), every))
    chosen: dict[Path, Removable] = {}
    for each in which:
        folder = Path(each)
        # A record that cannot be read has no name.
        if (folder / "run.json").is_file() and all(r.path.parent != folder for r in found):
            chosen[folder] = Removable(folder, folder.name, "named", size_of(folder))
            continue
        for result in meant(found, each):
            home = result.path.parent
            chosen[home] = removable_of(home, result.record, result.record.status)
    for folder in [folder for folder in chosen if is_running(folder)]:
        talk(f"{chosen.pop(folder).name}: a process works on it, it is kept")
    _go(list(chosen.values()), results, yes=yes)


@app.command()
def prune(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            help="What goes: stale, refused, interrupted or failed. The first three by default.",
            metavar="KIND",
            show_default=False,
        ),
    ] = None,
    results: Results = Path("results"),
    plugins: Plugins = None,
    yes: Yes = False,
) -> None:
    """Remove records of older code (stale), refused and interrupted ones.

    Shows what would be removed and why; --yes removes it. A cell on which a process works is never
    removed.
    """
    from ..comparison.removable import prunable
    from ..records.results import run_results

    add_plugins(plugins)
    with left_out() as damaged:
        found = run_results(results, damaged.append)
        _go(prunable(found, kinds or ()), results, yes=yes)


def _go(chosen: Sequence[Removable], results: Path, *, yes: bool) -> None:
    """Shows what goes, and removes it if `yes`."""
    from ..records.removal import refuse_foreign, remove
    from ..reporting.text_table import TextTable

    if not chosen:
        talk("there is nothing to remove")
        return
    for one in chosen:
        refuse_foreign(one.folder, results)
    rows = [[one.name, one.folder.name[:7], one.reason, readable_size(one.size)] for one in chosen]
    show(TextTable("", ["record", "cell", "why", "size"], rows, frozenset({3})))
    told = f"{len(chosen)} {plural(len(chosen), 'record')}"
    told += f", {readable_size(sum(one.size for one in chosen))}"
    if not yes:
        talk(f"{told}: nothing was removed; the same command with --yes removes")
        return
    kept = [path for one in chosen for path in remove(one.folder, results)]
    talk(f"removed {told}")
    for path in kept:
        talk(f"kept {path}, which no run wrote")
