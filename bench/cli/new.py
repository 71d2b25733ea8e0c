"""`cdfss-bench new`: the files of something new, already running."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .command_group import CommandGroup
from .console import say, talk

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Write the files of a new method or domain."
)


@app.callback()
def _group() -> None:
    """Write the files of a new method or domain."""


Folder = Annotated[
    Path | None,
    typer.Option("--to", help="Folder that the files are written to. By default the name."),
]


@app.command()
def method(
    name: Annotated[str, typer.Argument(help="Name of the method, as it will be typed after -m.")],
    folder: Folder = None,
    package: Annotated[
        bool,
        typer.Option("--package", help="Write an installable package that registers the method."),
    ] = False,
) -> None:
    """Write a network that already runs, its card and its test, as a starting point."""
    from ..scaffold.method import write_method

    target = folder or Path(name)
    typed = shlex.quote(str(target))
    for path in write_method(name, target, package=package):
        say(str(path))
    if package:
        talk(f"next: pip install -e {typed}, then: cdfss-bench check method {name}")
    else:
        talk(f"next: cdfss-bench check method {name} --plugin {typed}")
        talk(f"      cdfss-bench run -m {name} --plugin {typed}")


@app.command()
def domain(
    name: Annotated[str, typer.Argument(help="Name of the domain, as it will be typed after -d.")],
    folder: Folder = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            help="Data root that example pictures are written to. By default FOLDER-data, beside "
            "the folder of --to."
        ),
    ] = None,
    package: Annotated[
        bool,
        typer.Option("--package", help="Write an installable package that registers the domain."),
    ] = False,
) -> None:
    """Write a reader, its card, its test and a few pictures to read, as a starting point."""
    from ..scaffold.domain import write_domain

    target = folder or Path(name)
    root = examples or target.parent / f"{target.resolve().name}-data"
    files, pictures = write_domain(name, target, package=package, examples=root)
    for path in files:
        say(str(path))
    talk(f"{len(pictures)} example pictures and masks: {root}")
    where = ["--data-root", str(root), *([] if package else ["--plugin", str(target)])]
    if package:
        talk(f"next: pip install -e {shlex.quote(str(target))}")
    small = ["-m", "prototype", "--backbone", "resnet-mini"]
    talk(f"next: {shlex.join(['cdfss-bench', 'data', 'check', name, '--full', *where])}")
    talk(f"      {shlex.join(['cdfss-bench', 'run', '-d', name, *small, *where])}")
