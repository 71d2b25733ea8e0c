"""The command line: one file per verb, nothing heavy imported before a verb runs."""

import errno
import os
import sys
from typing import Annotated

import typer

from ..runtime.threads import wait_asleep
from . import (
    check,
    compare,
    data,
    diagnose,
    doctor,
    episodes,
    new,
    predict,
    report,
    run,
    runs,
    score,
    train,
    verify,
    weights,
)
from . import list as listing
from .command_group import CommandGroup
from .console import complain
from .interrupts import leave_on_second_interrupt
from .progress import patient_progress
from .streams import OutputError, finish, guard_streams
from .variables import forget_blank_variables

app = typer.Typer(
    cls=CommandGroup,
    name="cdfss-bench",
    help="Cross-domain few-shot segmentation, compared honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: cdfss-bench run -m loec -k 5",
)
app.command(name="run")(run.run)
app.command(name="report")(report.report)
app.command(name="compare")(compare.compare)
app.command(name="score")(score.score)
app.command(name="verify")(verify.verify)
app.command(name="train")(train.train)
app.command(name="predict")(predict.predict)
app.command(name="diagnose")(diagnose.diagnose)
app.command(name="doctor")(doctor.doctor)
app.add_typer(listing.app, name="list")
app.add_typer(data.app, name="data")
app.add_typer(episodes.app, name="episodes")
app.add_typer(weights.app, name="weights")
app.add_typer(check.app, name="check")
app.add_typer(runs.app, name="runs")
app.add_typer(new.app, name="new")


def _version(value: bool) -> None:
    if value:
        from cdfss_bench import __version__

        typer.echo(f"cdfss-bench {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="CDFSS_DEBUG", help="Show the traceback of user errors too."
        ),
    ] = False,
) -> None:
    """Cross-domain few-shot segmentation, compared honestly."""
    from cdfss_bench.progress import show_progress_with

    del version
    show_progress_with(patient_progress)
    if debug:
        os.environ["CDFSS_DEBUG"] = "1"


def main() -> None:
    """The console script: exit code 0 for success, 1 for a defect, 2 for a mistake of the user."""
    wait_asleep()
    leave_on_second_interrupt()
    guard_streams()
    forget_blank_variables()
    code = 0
    try:
        code = _exit_code()
        code = finish() or code
    except OutputError as error:
        code = _told(error) or code
    sys.exit(code)


def _told(error: OutputError) -> int:
    from cdfss_bench.errors import UserError

    if error.is_left:
        return 0  # the reader of our output left (`| head`): that is its right
    hint = "free some space, or send it elsewhere; what was recorded is kept"
    complain(UserError(f"standard output cannot be written: {error.reason}", hint=hint))
    return 2


def _exit_code() -> int:
    from cdfss_bench.errors import UserError

    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except UserError as error:
        if os.environ.get("CDFSS_DEBUG"):
            raise
        complain(error)
        return 2
    except OSError as error:
        # A name that no file can have, a disk that is full or fails: no defect of ours.
        if os.environ.get("CDFSS_DEBUG") or not (error.filename or error.errno in _ENVIRONMENT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        complain(UserError(f"{where}{error.strerror}"))
        return 2
    return 0


_ENVIRONMENT = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""What the machine lacks, whoever meets it."""
