"""`cdfss-bench new`: the files of something new, already running."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import say, talk

app = typer.Typer(no_args_is_help=True, help="Write the files of a new method.")


@app.callback()
def _group() -> None:
    """Write the files of a new method."""


@app.command()
def method(
    name: Annotated[str, typer.Argument(help="Name of the method, as it will be typed after -m.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--to", help="Folder that the files are written to. By default the method's name."
        ),
    ] = None,
    package: Annotated[
        bool,
        typer.Option("--package", help="Write an installable package that registers the method."),
    ] = False,
) -> None:
    """Write a network that already runs, its card and its test, as a starting point."""
    from ..scaffold.method import write_method

    target = folder or Path(name)
    for path in write_method(name, target, package=package):
        say(str(path))
    if package:
        talk(f"next: pip install -e {target}, then: cdfss-bench check method {name}")
    else:
        talk(f"next: cdfss-bench check method {name} --plugin {target}")
        talk(f"      cdfss-bench run -m {name} --plugin {target}")
