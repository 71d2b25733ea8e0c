"""`cdfss-bench weights`: what is here, fetching what has a public address, converting the rest."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from .command_group import CommandGroup
from .completion import complete_known_backbones, complete_known_methods, words_of
from .console import say, show_table, talk
from .folders import refuse_file
from .next_command import Written, say_how_to_run
from .options import AsJson, Plugins, WeightsDirs, Wide, add_plugins
from .progress import progress

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="List, fetch and convert weights.")


@app.command(name="list")
def list_weights(
    weights_dirs: WeightsDirs = None, wide: Wide = False, as_json: AsJson = False
) -> None:
    """List backbone weights and trained methods, and whether they are found."""
    from cdfss_bench.methods.backbones.card import BACKBONES
    from cdfss_bench.methods.weights.search import default_folders, find_pretrained, trained_in

    folders = [*(weights_dirs or ()), *default_folders()]
    found: list[dict[str, Any]] = []
    for name in BACKBONES.names():
        hit = find_pretrained(name, folders)
        for entry in BACKBONES.card(name).pretrained:
            here = hit if hit is not None and hit[0].name in entry.files else None
            found.append(
                {
                    "what": name,
                    "kind": "backbone",
                    "here": str(here[0]) if here else "",
                    "trained on": here[1].trained_on if here else entry.trained_on,
                    "file": " or ".join(entry.files),
                    "url": entry.url or entry.page,
                    "licence": entry.licence,
                }
            )
    for path, card in trained_in(folders):
        found.append(
            {
                "what": card.trained_as,
                "kind": f"trained on {card.backbone}",
                "here": str(path),
                "trained on": card.trained_on,
                "file": path.name,
                "url": "",
                "licence": "",
            }
        )
    if as_json:
        say(json.dumps(found, indent=1))
        return
    keys = ("kind", "trained on", "file", "url")
    rows: list[list[str]] = []
    for entry in found:
        here = entry["here"]
        told = [str(entry[key]) for key in keys]
        folder = str(Path(here).parent) if here else ""
        rows.append([entry["what"], "yes" if here else "no", *told, folder])
    headers = ["what", "here", *keys, "folder"]
    show_table(headers, rows, secondary=["url", "folder", "file"], wide=wide)


@app.command()
def fetch(
    backbones: Annotated[
        list[str],
        typer.Argument(
            help="Backbones whose weights to download.", autocompletion=complete_known_backbones
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Target folder. By default the first of CDFSS_WEIGHTS, else the user's cache.",
        ),
    ] = None,
) -> None:
    """Download pretrained weights and check their sha256 or, where none is published, entries."""
    from cdfss_bench.methods.weights.fetch import fetch_pretrained
    from cdfss_bench.methods.weights.search import kept_folders

    refuse_file("--to", folder)
    target = folder or kept_folders()[0]
    for name in backbones:
        with progress(name, bytewise=True) as listener:
            path = fetch_pretrained(name, target, listener)
        talk(f"{name}: {path}")


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="Published checkpoint: a .pt, .pth or .safetensors file.")
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="Method that the checkpoint was trained as.",
            autocompletion=complete_known_methods,
        ),
    ],
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Backbone that it was trained on. By default the published one.",
            autocompletion=complete_known_backbones,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Safetensors file to write. By default a name that `run` finds."
        ),
    ] = None,
    selection: Annotated[
        str,
        typer.Option(
            help="How its authors selected the weights: unknown, last, source-val or "
            "target-oracle.",
            autocompletion=words_of("unknown", "last", "source-val", "target-oracle"),
        ),
    ] = "unknown",
    origin: Annotated[
        str, typer.Option(help="Address or description of where it came from, for the card.")
    ] = "",
    entry: Annotated[
        str,
        typer.Option(
            help="Which weights of a file that holds several, such as state_dict_ema; or the "
            "prefix of their keys. Not needed for a file that holds one."
        ),
    ] = "",
    plugins: Plugins = None,
) -> None:
    """Convert a published checkpoint into a file that `run` finds; no code in it is executed."""
    from cdfss_bench.errors import unknown
    from cdfss_bench.methods.registry.name_grammar import parse
    from cdfss_bench.methods.weights.card import SELECTIONS
    from cdfss_bench.methods.weights.convert import convert
    from cdfss_bench.methods.weights.search import is_toy, kept_folders, trained_name

    from ..evaluation.complete_weights import quoting

    if selection not in SELECTIONS:
        raise unknown("selection rule", selection, SELECTIONS)
    add_plugins(plugins)
    composition = parse(method)
    chosen = backbone or next(iter(composition.host.card.backbones), "")
    target = output or kept_folders()[0] / f"{trained_name(composition)}-{chosen}.safetensors"
    with quoting(source):
        left = convert(
            source,
            target,
            composition,
            backbone=chosen,
            selection=selection,
            origin=origin,
            entry=entry,
        )
    if left:
        talk(f"left out, since nothing computes with them: {', '.join(left)}")
    talk(f"wrote {target}")
    has_data = is_toy(chosen) or "CDFSS_DATA_ROOT" in os.environ
    say_how_to_run(
        [Written(composition, chosen, target)],
        weights_dirs=(),
        plugins=plugins or (),
        data=() if has_data else ("--data-root", "DATA"),
        on_mini=False,
    )
