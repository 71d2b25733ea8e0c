"""`cdfss-bench data`: get it, prepare it, check that it is what it should be, look at it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_group import CommandGroup
from .completion import complete_known_domains
from .console import say, talk
from .data_output import (
    look_at,
    refuse_absent,
    show_downloads,
    show_fetched,
    show_reports,
    show_summary,
)
from .interrupts import ending_with
from .options import AsJson, DataRoot, Lists, Plugins, Wide, add_plugins
from .progress import patient_progress, progress

if TYPE_CHECKING:
    from cdfss_bench.datasets.prepare.fetching import Fetched

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Fetch, prepare, check and look at the data sets."
)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Domains. By default all real ones.",
        show_default=False,
        autocompletion=complete_known_domains,
    ),
]


@app.command()
def check(
    names: Names = None,
    data_root: DataRoot = None,
    lists: Lists = None,
    plugins: Plugins = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Also hash and open every image and mask, even those that are known."
        ),
    ] = False,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Count files, recognise the population, and name each problem with its remedy.

    Files are hashed for the fingerprint; those whose size and times are known from an earlier
    command are not hashed again, except with --full.

    With --full every image and mask is opened: damage, sizes, empty masks, mask values, files
    that are never read, and duplicate pictures, within a domain and between the domains that are
    checked together (a source picture that is also a test picture).

    Exit code 2 if a domain is absent or damaged.
    """
    from cdfss_bench.datasets import DOMAINS
    from cdfss_bench.datasets.check.report import check_domains

    add_plugins(plugins)
    chosen = names or [n for n in DOMAINS.names() if DOMAINS.card(n).suite == "cdfss"]
    with patient_progress("opening pictures") as listener:
        reports = check_domains(
            chosen, data_root, lists, full=full, listener=listener if full else None
        )
    if as_json:
        say(json.dumps([report.to_json() for report in reports], indent=1))
    else:
        if len(reports) > 1:
            show_reports(reports, wide=wide)
            say("")
        say("\n".join(report.to_text() for report in reports))
    if any(not report.usable for report in reports):
        raise typer.Exit(2)


@app.command()
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Domains to download.", show_default=False, autocompletion=complete_known_domains
        ),
    ],
    data_root: DataRoot = None,
    plugins: Plugins = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show addresses and sizes; download nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download what has a public address, and explain how to get what needs a login.

    Files go to DATA_ROOT/downloads/DOMAIN, where `data prepare` finds them. An interrupted
    download is resumed by the same command.

    Exit code 2 if a file is still missing.
    """
    from cdfss_bench.datasets import DOMAINS
    from cdfss_bench.datasets.prepare.fetching import fetch as fetch_domain
    from cdfss_bench.datasets.prepare.running import command, named_root

    add_plugins(plugins)
    root = named_root(data_root)
    if dry_run:
        show_downloads([DOMAINS.card(name) for name in names], as_json=as_json)
        return
    found: dict[str, list[Fetched]] = {}
    for name in names:
        card = DOMAINS.card(name)
        talk(f"{card.title}: licence: {card.licence}")
        with ExitStack() as bars, ending_with("what came is kept, the same command resumes"):
            found[name] = fetch_domain(
                name,
                root,
                listener=lambda file: bars.enter_context(progress(file, bytewise=True)),
            )
        show_fetched(found[name])
    if as_json:
        say(json.dumps({key: [asdict(file) for file in value] for key, value in found.items()}))
    states = {file.state for files in found.values() for file in files}
    if states & {"by hand", "failed"}:
        raise typer.Exit(2)
    if not as_json:
        for name in names:
            talk(f"next: {command('prepare', name, root)}")


@app.command(context_settings={"ignore_unknown_options": True})
def prepare(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Domain to prepare, followed by options of its recipe, such as "
            "'fss1000 --defects repair'. "
            "The card of each domain declares them: cdfss-bench list domains --json.",
            show_default=False,
            autocompletion=complete_known_domains,
        ),
    ],
    places: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="Downloaded archive, or folder of archives or of unpacked files. Repeatable; "
            "by default DATA_ROOT/downloads/DOMAIN, where `data fetch` puts them.",
        ),
    ] = None,
    data_root: DataRoot = None,
    lists: Lists = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Class table, a CSV file with the columns ID and Class, for a recipe that reads "
            "one. By default it is looked for in the download."
        ),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Make hard links instead of copies, on the same disk.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(help="Files processed at the same time; 0 means one per processor.", min=0),
    ] = 0,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Convert an official download to the published layout; the same command resumes.

    There are recipes for chestxray, deepglobe, fss1000, isic and pascal, and for the suite
    extended: isaid, kvasir, nucleus, pothole, suim and weedmap.

    Exit code 2 if a file of the download could not be used; the other files are still written.
    """
    from cdfss_bench.datasets.prepare.running import prepare as carry_out

    from .prepare_words import domain_and_options

    add_plugins(plugins)
    domain, options = domain_and_options(words)
    given = [*([classes] if classes else []), *([lists] if lists else [])]
    refuse_absent(given)
    finished = "what is finished is kept, the same command resumes"
    with progress(domain) as listener, ending_with(finished):
        summary = carry_out(
            domain,
            data_root,
            places or (),
            options,
            lists=given,
            workers=workers,
            link=link,
            listener=listener,
        )
    if as_json:
        say(json.dumps(summary.to_json(), indent=1))
    else:
        show_summary(summary)
    if summary.problems:
        raise typer.Exit(2)
    if not as_json:
        talk(f"look at it: {look_at(summary)}")


@app.command()
def show(
    names: Annotated[
        list[str], typer.Argument(help="Domains to draw.", autocompletion=complete_known_domains)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG or JPEG file to write.")],
    data_root: DataRoot = None,
    lists: Lists = None,
    plugins: Plugins = None,
    columns: Annotated[int, typer.Option(min=1, max=40, help="Pictures per row.")] = 8,
) -> None:
    """Draw a contact sheet with the outlines of the masks: one row per class or per domain."""
    from cdfss_bench.datasets import open_domain
    from cdfss_bench.datasets.check.contact_sheet import contact_sheet, encoded
    from cdfss_bench.datasets.core.registry import split_name
    from cdfss_bench.errors import UserError
    from cdfss_bench.files import write_atomically

    add_plugins(plugins)
    if output.is_dir() or output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(
            f"-o {output} is not a PNG or JPEG file", hint="name the file: -o sheet.png"
        )
    opened = [
        open_domain(name, data_root, options, lists=lists)
        for name, options in map(split_name, names)
    ]
    write_atomically(output, encoded(contact_sheet(opened, columns=columns), output.suffix))
    talk(f"wrote {output}")
