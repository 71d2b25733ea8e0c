"""`cdfss-bench check`: the regression gate; `check method`: the contract's checks."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from .command_group import CommandGroup
from .completion import complete_known_methods
from .console import say, talk
from .gate import gate
from .options import AsJson, Plugins, add_plugins

app = typer.Typer(cls=CommandGroup, invoke_without_command=True)
app.callback()(gate)


@app.command()
def method(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Methods, composed as HOST+PLUGIN\\[key=value].",
            autocompletion=complete_known_methods,
        ),
    ],
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Run the contract's checks on methods; no weights and no data are needed.

    Exit code 1 if a check fails.
    """
    from cdfss_bench.methods.conformance.checks import examined

    add_plugins(plugins)
    found = {name: list(examined(name)) for name in names}
    if as_json:
        say(json.dumps({name: [asdict(f) for f in given] for name, given in found.items()}))
    for name, findings in [] if as_json else found.items():
        for finding in findings:
            mark = "failed" if finding.problem else "passed"
            say(f"{name}  {mark:6}  {finding.seconds:5.1f} s  {finding.check}")
            if finding.problem:
                say(f"{name}          {finding.problem}")
    broken = sum(bool(finding.problem) for given in found.values() for finding in given)
    asked = sum(len(findings) for findings in found.values())
    talk(f"{asked - broken} of {asked} checks passed")
    if broken:
        raise typer.Exit(1)
