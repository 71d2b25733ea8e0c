"""`cdfss-bench data`: is the data what it should be, and what does it look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, DataRoot, Lists, Plugins, add_plugins, complete_domains
from .talk import say, talk

app = typer.Typer(no_args_is_help=True, help="Check and look at the data sets.")

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Domains; by default all real ones.",
        show_default=False,
        autocompletion=complete_domains,
    ),
]


@app.command()
def check(
    names: Names = None,
    data_root: DataRoot = None,
    lists: Lists = None,
    plugins: Plugins = None,
    full: Annotated[bool, typer.Option("--full", help="Also open every image and mask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count files, recognise the population, and name what is odd.

    Exit code 2 if a domain is absent or damaged.
    """
    from cdfss_bench.datasets import DOMAINS
    from cdfss_bench.datasets.checking import check_domain

    add_plugins(plugins)
    chosen = names or [n for n in DOMAINS.names() if DOMAINS.card(n).suite == "cdfss"]
    reports = [check_domain(name, data_root, lists, full=full) for name in chosen]
    if as_json:
        say(json.dumps([report.to_json() for report in reports], indent=1))
    else:
        say("\n".join(report.to_text() for report in reports))
    if any(not report.usable for report in reports):
        raise typer.Exit(2)


@app.command()
def show(
    names: Annotated[list[str], typer.Argument(help="Domains.", autocompletion=complete_domains)],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG or JPEG file to write.")],
    data_root: DataRoot = None,
    lists: Lists = None,
    plugins: Plugins = None,
    columns: Annotated[int, typer.Option(min=1, max=40, help="Pictures per row.")] = 8,
) -> None:
    """Draw a contact sheet with the outline of the truth: a row per class, or per domain."""
    from cdfss_bench.datasets import open_domain
    from cdfss_bench.datasets.sheet import contact_sheet, encoded
    from cdfss_bench.files import write_atomically

    from ..selection import split_name

    add_plugins(plugins)
    opened = [
        open_domain(name, data_root, options, lists=lists)
        for name, options in map(split_name, names)
    ]
    write_atomically(output, encoded(contact_sheet(opened, columns=columns), output.suffix))
    talk(f"wrote {output}")
