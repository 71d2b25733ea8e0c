"""`cdfss-bench doctor`: what works here, what is missing, and the command that corrects it."""

import json
from pathlib import Path

import typer

from .console import say, show_table
from .options import AsJson, DataRoot, Lists, Results, WeightsDirs, Wide


def doctor(
    data_root: DataRoot = None,
    lists: Lists = None,
    weights_dirs: WeightsDirs = None,
    results: Results = Path("results"),
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Check the installation, devices, data, weights and folders; exit code 2 if one fails."""
    from ..doctor.findings import examine

    findings = examine(data_root, lists, weights_dirs or [], results)
    if as_json:
        say(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        rows = [[f.what, f.state, f.detail, f.hint] for f in findings]
        show_table(["what", "state", "detail", "hint"], rows, wide=wide)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(2)
