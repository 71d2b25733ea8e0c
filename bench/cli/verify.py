"""`cdfss-bench verify`: is every number what the rows say."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cdfss_bench.words import plural

from .completion import complete_run_folders
from .console import say, talk
from .no_records import no_records, results_near
from .options import AsJson, Results


def verify(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of runs. By default all in the results folder.",
            autocompletion=complete_run_folders,
        ),
    ] = None,
    results: Results = Path("results"),
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Compute again what agreed before and holds the same bytes since."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute every hash and metric of recorded runs from their rows and compare.

    Files are always hashed. Runs that agreed in an earlier call of the same code, and hold the same
    bytes since, are not computed again without --full.

    Exit code 0: everything agrees. 1: something was changed or is missing. 2: there is nothing to
    check, a record cannot be read, or a value in it is not a number.
    """
    from cdfss_bench.errors import UserError

    from ..comparison.verify import verify_all, without_record
    from ..records.schema import record_paths

    folders = list(runs) if runs else [path.parent for path in record_paths(results)]
    if not folders:
        raise no_records(results)
    for folder in folders:
        try:
            is_run = (folder / "run.json").is_file()
        except OSError:  # no name that a file can have
            is_run = False
        if not is_run:
            near = results_near(folder)
            others = "" if near is None else f", or all of them by --results {near}"
            raise UserError(f"{folder} holds no run.json", hint=f"name the folder of a run{others}")
    verdicts = verify_all(folders, again=full)
    verdicts += [] if runs else without_record(results)
    wrong = [verdict for verdict in verdicts if verdict.problems]
    if as_json:
        say(json.dumps([verdict.to_json() for verdict in verdicts], indent=1))
    else:
        for verdict in wrong:
            for problem in verdict.problems:
                say(f"{verdict.path}: {problem}")
        done = sum(verdict.status == "done" for verdict in verdicts)
        records = f"{len(folders)} {plural(len(folders), 'record')}"
        talk(f"{records}, {done} finished, {len(wrong)} with problems")
    if wrong:
        raise typer.Exit(2 if any(verdict.unreadable for verdict in wrong) else 1)
