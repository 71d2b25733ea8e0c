"""`cdfss-bench diagnose`: why a method fails across domains."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..diagnose.kinds import KINDS
from .cautions import warn_of_weights
from .console import complain, say, talk
from .folders import refuse_file
from .interrupts import ending_with
from .option_groups import expand_groups
from .options import Device, Episodes, Threads, add_plugins, chosen_device
from .progress import progress
from .selection_options import SelectionOptions

if TYPE_CHECKING:
    from cdfss_bench.methods.registry.name_grammar import Composition
    from cdfss_bench.methods.weights.resolve import Weights

    from ..diagnose.running import Outcome
    from ..planning.selection import Selection


def complete_kinds(incomplete: str) -> list[str]:
    """Kinds of diagnosis for the shell."""
    return [name for name in (*KINDS, "all") if name.startswith(incomplete)]


@expand_groups
def diagnose(
    kind: Annotated[
        str,
        typer.Argument(
            help=f"Kind of diagnosis: {', '.join(KINDS)}; or all, which also writes one page of "
            "every kind.",
            autocompletion=complete_kinds,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that the results are written to.")
    ],
    selecting: SelectionOptions,
    episodes: Episodes = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Option of the kind, as KEY=VALUE (with all: KIND.KEY=VALUE). Repeatable."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Measure why a method fails across domains; write numbers, figures and a summary.

    Each kind writes KIND.json, a CSV file per table, and a PNG and an SVG file per figure. The kind
    `all` runs every kind and begins with a verdict: the possible causes, ranked, with their sizes.
    The seeds are 0..2 by default. What was measured before is not measured again.
    """
    from cdfss_bench.errors import UserError

    from ..diagnose.drawing import MISSING, can_draw
    from ..diagnose.kinds import module_of

    refuse_file("-o", output)
    add_plugins(selecting.plugins)
    kinds = list(KINDS) if kind == "all" else [kind]
    for one in kinds:
        module_of(one)
    seeds = selecting.seeds or ["0..2"]
    selection = dataclasses.replace(selecting, seeds=seeds).selection(episodes=episodes)
    if selection.chosen_suite == "mini" and selecting.suite is None and not selecting.domains:
        talk("no data root is named (--data-root): diagnosing on the procedural mini suite")
    if len(selection.shots) > 1:
        raise UserError("a diagnosis asks with one number of shots", hint="type -k once")
    where = chosen_device(device)
    with ending_with("finished kinds and saved states are kept, the same command goes on"):
        _carry_out(kinds, kind == "all", selection, output, where, threads, settings)
    if not can_draw():
        talk(MISSING)


def _carry_out(
    kinds: list[str],
    whole: bool,
    selection: Selection,
    output: Path,
    device: str,
    threads: int | None,
    settings: list[str] | None,
) -> None:
    from cdfss_bench.files import write_atomically

    from ..diagnose.causes import verdict
    from ..diagnose.page import as_html
    from ..diagnose.running import attempted, carried_out, causes_of, parsed_settings
    from ..runtime.threads import set_threads

    if threads is not None:
        set_threads(threads)
    options = parsed_settings(settings or (), kinds)
    warn_of_weights(_used(selection))
    several = len(selection.methods) > 1
    for method in selection.methods:
        folder = output / re.sub(r"[^A-Za-z0-9.+=-]", "_", method) if several else output
        one = selection.model_copy(update={"methods": (method,)})
        outcomes: list[Outcome] = []
        for kind in kinds:
            with progress(kind) as tell:
                ask = attempted if whole else carried_out
                outcome = ask(
                    kind, one, folder, device=device, options=options[kind], progress=tell
                )
            _tell(outcome, sentences=not whole)
            outcomes.append(outcome)
        if whole:
            for line in verdict(causes_of(outcomes)):
                say(line)
            for outcome in outcomes:
                for sentence in outcome.written.finding.sentences if outcome.written else ():
                    say(sentence)
            page = folder / "diagnosis.html"
            write_atomically(page, as_html(method, one, outcomes))
            talk(f"wrote {page}")


def _used(selection: Selection) -> Iterator[tuple[Composition, Weights, bool]]:
    from cdfss_bench.errors import UserError
    from cdfss_bench.methods.registry.name_grammar import parse

    from ..planning.weights_choice import weights_of

    for name in selection.methods:
        composition = parse(name)
        if selection.chosen_suite == "mini":
            composition = composition.in_miniature()
        with suppress(UserError):  # which the kinds say themselves
            weights = weights_of(composition, selection, on_mini=selection.is_mini)
            yield composition, weights, selection.is_mini


def _tell(outcome: Outcome, *, sentences: bool) -> None:
    from cdfss_bench.errors import UserError

    if outcome.written is None:
        complain(UserError(f"{outcome.kind}: {outcome.reason}", hint=outcome.hint))
        return
    for sentence in outcome.written.finding.sentences if sentences else ():
        say(sentence)
    how = "redrawn from numbers measured before" if outcome.reused else "measured"
    talk(
        f"{outcome.kind}: {how}, wrote {outcome.written.record} with "
        f"{len(outcome.written.tables)} tables and {len(outcome.written.figures)} figures"
    )
