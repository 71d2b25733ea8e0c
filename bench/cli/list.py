"""`cdfss-bench list`: methods, domains and runs, from cards and records alone."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import say, show
from .options import AsJson, Plugins, Results, WeightsDirs, add_plugins

app = typer.Typer(no_args_is_help=True, help="List methods, domains or runs.")

Pattern = Annotated[str, typer.Argument(help="Pattern that names must match, such as 'ssp*'.")]


@app.command()
def methods(
    pattern: Pattern = "*",
    plugins: Plugins = None,
    weights_dirs: WeightsDirs = None,
    as_json: AsJson = False,
) -> None:
    """List hosts, plug-ins, aliases and control rows with paper, place, adaptation and weights."""
    from cdfss_bench.methods.registry.name_grammar import METHODS
    from cdfss_bench.methods.weights.resolve import runs_on
    from cdfss_bench.methods.weights.search import default_folders, is_toy

    add_plugins(plugins)
    folders = [*(weights_dirs or ()), *default_folders()]
    cards = [METHODS.card(name) for name in METHODS.names() if fnmatchcase(name, pattern)]
    ready = {card.name: runs_on(card.name, folders) for card in cards}
    if as_json:
        described = [
            {**card.model_dump(mode="json", by_alias=True), "weights": ready[card.name]}
            for card in cards
        ]
        say(json.dumps(described, indent=1))
        return
    rows = [
        [
            card.name,
            card.kind,
            card.composition or card.alone or card.place or " ".join(card.offers),
            "" if card.adaptation == "none" else card.adaptation,
            ", ".join(f"{b} (mini suite)" if is_toy(b) else b for b in ready[card.name]),
            f"{card.venue} {card.year}" if card.year else "",
            card.summary or card.reason,
        ]
        for card in cards
    ]
    show_table(
        ["method", "kind", "is / acts on / offers", "adapts", "weights of", "venue", "what"], rows
    )


@app.command()
def domains(pattern: Pattern = "*", plugins: Plugins = None, as_json: AsJson = False) -> None:
    """List source and target domains with licence and published number of episodes."""
    from cdfss_bench.datasets import DOMAINS

    add_plugins(plugins)
    cards = [DOMAINS.card(name) for name in DOMAINS.names() if fnmatchcase(name, pattern)]
    if as_json:
        say(json.dumps([card.model_dump(mode="json", by_alias=True) for card in cards], indent=1))
        return
    rows = [
        [
            card.name,
            card.suite,
            card.role,
            str(len(card.classes)),
            str(card.length or "one per image"),
            card.licence,
            card.summary,
        ]
        for card in cards
    ]
    show_table(["domain", "suite", "role", "classes", "episodes", "licence", "what"], rows)


@app.command()
def runs(
    pattern: Pattern = "*", results: Results = Path("results"), as_json: AsJson = False
) -> None:
    """List every recorded cell with its state."""
    from ..records.schema import read_runs

    found: list[dict[str, Any]] = []
    for path, record in read_runs(results):
        if not any(fnmatchcase(n, pattern) for n in (record.method.label, record.name)):
            continue
        found.append(
            {
                "method": record.name,
                "backbone": record.method.backbone,
                "domain": record.domain.title,
                "shots": record.episodes.shots,
                "seed": record.episodes.seed,
                "protocol": record.episodes.protocol,
                "status": record.status,
                "miou": record.metrics.miou if record.metrics else None,
                "reason": record.reason,
                "finished": record.finished,
                "folder": str(path.parent),
            }
        )
    if as_json:
        say(json.dumps(found, indent=1))
        return
    rows = [
        [
            run["method"],
            run["backbone"],
            run["domain"],
            str(run["shots"]),
            str(run["seed"]),
            run["protocol"],
            run["status"],
            "" if run["miou"] is None else f"{run['miou']:.2f}",
            run["reason"],
        ]
        for run in found
    ]
    headers = ["method", "backbone", "domain", "shots", "seed", "protocol", "status", "mIoU"]
    show_table([*headers, "reason"], rows)


def show_table(headers: list[str], rows: list[list[str]]) -> None:
    """A table of text on standard output."""
    from ..reporting.text_table import TextTable

    show(TextTable("", headers, rows, frozenset()))
