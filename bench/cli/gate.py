"""`cdfss-bench check` without a subcommand: the regression gate."""

from pathlib import Path
from typing import Annotated

import typer

from cdfss_bench.words import plural

from .console import say, show_table, talk
from .folders import refuse_unwritable
from .option_groups import expand_groups
from .options import Device, Episodes, Threads, add_plugins, chosen_device
from .selection_options import SelectionOptions
from .typed_options import first_typed

_OF_A_NEW_BASELINE = ("shots", "seeds", "protocol", "suite", "backbone", "episodes")
"""Options that say what a new baseline holds."""


@expand_groups
def gate(
    context: typer.Context,
    *,
    baseline: Annotated[
        Path, typer.Option("--baseline", help="Baseline file.", envvar="CDFSS_BASELINE")
    ] = Path("results/baseline.json"),
    update: Annotated[
        bool,
        typer.Option("--update", help="Measure again, show what changed and write the baseline."),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="A change for the better gives exit code 1 too."),
    ] = False,
    options: SelectionOptions,
    episodes: Episodes = None,
    device: Device = "cpu",
    threads: Threads = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            help="File that the verdict is appended to, as Markdown.", envvar="GITHUB_STEP_SUMMARY"
        ),
    ] = None,
) -> None:
    """Run the baseline's selection again and compare: mIoU, parameters, FLOPs, time.

    -m and -d limit the check to some methods and domains; --data-root, --lists, --weights and
    --weights-dir say where its files are. With --update, all options of the selection choose what
    the new baseline holds; by default the same as the old one.

    Exit code 0: no regression (what got better is shown as such). 1: a regression. 2: not
    comparable, or there is no baseline.
    """
    if context.invoked_subcommand is not None:
        return
    from cdfss_bench.errors import UserError
    from cdfss_bench.files import explained_os_errors

    from ..regression.baseline import compared, exit_code, markdown, read_baseline, verdict_on
    from ..regression.measure import measured, narrowed
    from ..runtime.threads import set_threads
    from .run import line_of

    refuse_unwritable("--summary", summary, appended=True)
    refuse_unwritable("--baseline", baseline if update else None)
    add_plugins(options.plugins)
    if threads is not None:
        set_threads(threads)
    old = None
    try:
        old = read_baseline(baseline) if baseline.is_file() or not update else None
    except UserError as error:
        if not update or not options.methods:
            raise
        talk(f"warning: {error.problem}; it is replaced")
    if old is not None and not update:
        old = narrowed(old, options.methods or (), options.domains or ())
        _refuse_other_selection(context)
        # What is checked is the baseline's; an environment set for `run` must not change it.
        episodes = None
        options = SelectionOptions(
            data_root=options.data_root,
            lists=options.lists,
            weights=options.weights,
            weights_dirs=options.weights_dirs,
        )
    selection = options.selection(stored=old.asked if old is not None else None, episodes=episodes)
    now = measured(
        selection, device=chosen_device(device), listener=lambda outcome: talk(line_of(outcome))
    )
    findings = compared(old.cells, now.cells) if old is not None else []
    if wrong := [list(finding) for finding in findings if finding.verdict != "fine"]:
        show_table(["cell", "what", "baseline", "now", "verdict"], wrong)
    if update:
        now.save(baseline)
        talk(f"wrote {baseline}: {len(now.cells)} {plural(len(now.cells), 'cell')}")
        return
    text = markdown(findings, strict=strict)
    if summary is not None:
        with (
            explained_os_errors(summary, "adding the verdict"),
            summary.open("a", encoding="utf-8") as file,
        ):
            file.write(text)
    code = exit_code(findings, strict=strict)
    if any(finding.verdict == "changed (better)" for finding in findings):
        talk("the same command with --update takes what is better into the baseline")
    said = verdict_on(findings, strict=strict)
    say(said.upper() if code else said)
    if code:
        raise typer.Exit(code)


def _refuse_other_selection(context: typer.Context) -> None:
    """Refuses options without which nothing would be checked otherwise.

    Raises:
        UserError: naming the first.
    """
    from cdfss_bench.errors import UserError

    flag = first_typed(context, _OF_A_NEW_BASELINE)
    if flag is not None:
        raise UserError(
            f"{flag} says what a new baseline holds, and this one is checked as it is",
            hint="add --update to write another, or leave it out",
        )
