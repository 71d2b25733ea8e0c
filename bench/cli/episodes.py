"""`cdfss-bench episodes`: the pinned episodes as files, for programs of any kind."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cdfss_bench.words import plural

from .command_group import CommandGroup
from .console import talk
from .folders import refuse_file
from .option_groups import Only, expand_groups
from .options import Episodes
from .selection_options import SelectionOptions

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Export episodes for programs outside this harness.",
)


@app.callback()
def _group() -> None:
    """Export episodes for programs outside this harness."""


@app.command()
@expand_groups
def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that the episodes are written to.")
    ],
    options: Annotated[
        SelectionOptions,
        Only("domains", "shots", "seeds", "protocol", "suite", "data_root", "lists", "plugins"),
    ],
    episodes: Episodes = None,
    shuffled_support: Annotated[
        bool,
        typer.Option(
            "--shuffled-support", help="Take supports of a wrong class: the episodes of a control."
        ),
    ] = False,
) -> None:
    """Write pictures, support masks and index.json, never the masks of queries.

    Any program reads index.json and writes one mask per episode, predictions/00000.png and so on,
    of the size of the pictures, with 0 and 255 or with 0 and 1; `score` counts them.

    One list of episodes is written to the folder itself, several to a folder each below it.
    """
    from ..evaluation.episode_export import export as write
    from ..evaluation.episode_export import set_name
    from ..planning.episode_set import EpisodeSet
    from ..planning.selection import open_domains

    refuse_file("-o", output)
    # A selection names a method; episodes are the same for all of them.
    selection = options.selection(episodes=episodes, methods=("all-foreground",))
    if selection.chosen_suite == "mini" and options.suite is None and not options.domains:
        talk("no data root is named (--data-root): exporting the procedural mini suite")
    control = "shuffled-support" if shuffled_support else ""
    sets = [
        EpisodeSet(domain, shots, seed, selection.protocol, selection.episodes, control)
        for domain in open_domains(selection)
        for shots in selection.shots
        for seed in selection.seeds
    ]
    for episode_set in sets:
        folder = output if len(sets) == 1 else output / set_name(episode_set)
        index = write(episode_set, folder)
        count = len(index.episodes)
        talk(
            f"wrote {count} {plural(count, 'episode')} of {index.domain}, {index.shots}-shot, seed "
            f"{index.seed}, protocol {index.protocol}, {index.image_size}x{index.image_size} "
            f"pixels, to {folder}"
        )
    score = f"cdfss-bench score {shlex.quote(str(output))} -m NAME"
    talk(f"next: one mask per episode in predictions/, then: {score}")
