"""`cdfss-bench list`: methods, domains and runs, from cards and records alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_group import CommandGroup
from .completion import complete_known_domains, complete_known_methods, complete_runs
from .console import left_out, say, show_table, talk
from .method_card import show_method
from .no_records import results_near
from .options import AsJson, Plugins, Results, WeightsDirs, Wide, add_plugins

if TYPE_CHECKING:
    from cdfss_bench.cards import Catalog

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="List methods, domains or runs.")

MethodPattern = Annotated[
    str,
    typer.Argument(
        help="Pattern that names must match, such as 'ssp*'. A whole name shows more.",
        autocompletion=complete_known_methods,
    ),
]
DomainPattern = Annotated[
    str,
    typer.Argument(
        help="Pattern that names must match, such as 'mini-*'.",
        autocompletion=complete_known_domains,
    ),
]
RunPattern = Annotated[
    str,
    typer.Argument(
        help="Pattern that names must match, such as 'ssp*'.", autocompletion=complete_runs
    ),
]


@app.command()
def methods(
    pattern: MethodPattern = "*",
    plugins: Plugins = None,
    weights_dirs: WeightsDirs = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """List hosts, plug-ins, aliases and control rows with paper, place, adaptation and weights.

    The name of one method shows its whole card, with its options and their defaults.
    """
    from cdfss_bench.methods.registry.name_grammar import METHODS
    from cdfss_bench.methods.weights.resolve import runs_on
    from cdfss_bench.methods.weights.search import default_folders

    add_plugins(plugins)
    folders = [*(weights_dirs or ()), *default_folders()]
    cards = [METHODS.card(name) for name in _matching(METHODS, pattern)]
    ready = {card.name: runs_on(card.name, folders) for card in cards}
    if as_json:
        described = [
            {**card.model_dump(mode="json", by_alias=True), "weights": ready[card.name]}
            for card in cards
        ]
        say(json.dumps(described, indent=1))
        return
    if pattern.lower() != "*" and len(cards) == 1:
        show_method(cards[0], _marked(ready[cards[0].name]), wide=wide)
        return
    rows = [
        [
            card.name,
            card.kind,
            card.composition or card.alone or card.place or " ".join(card.offers),
            "" if card.adaptation == "none" else card.adaptation,
            ", ".join(_marked(ready[card.name])),
            f"{card.venue} {card.year}" if card.year else "",
            card.summary or card.reason,
        ]
        for card in cards
    ]
    show_table(
        ["method", "kind", "is / acts on / offers", "adapts", "weights of", "venue", "what"],
        rows,
        secondary=["weights of", "venue", "is / acts on / offers", "kind", "adapts"],
        wide=wide,
    )
    talk("one method with its options: cdfss-bench list methods NAME")


@app.command()
def domains(
    pattern: DomainPattern = "*",
    plugins: Plugins = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """List source and target domains with licence and published number of episodes."""
    from cdfss_bench.datasets import DOMAINS

    add_plugins(plugins)
    cards = [DOMAINS.card(name) for name in _matching(DOMAINS, pattern)]
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
    show_table(
        ["domain", "suite", "role", "classes", "episodes", "licence", "what"],
        rows,
        numeric=["classes"],
        secondary=["licence", "role", "classes", "episodes"],
        wide=wide,
    )


@app.command()
def runs(
    pattern: RunPattern = "*",
    results: Results = Path("results"),
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """List every recorded cell with its state."""
    from ..comparison.keys import fits_pattern, version_of
    from ..records.schema import read_runs

    found: list[dict[str, Any]] = []
    with left_out() as damaged:
        for path, record in read_runs(results, damaged.append):
            if not fits_pattern(record, pattern):
                continue
            found.append(
                {
                    "method": record.name,
                    "version": version_of(record),
                    "backbone": record.method.backbone,
                    "domain": record.domain.title,
                    "shots": record.episodes.shots,
                    "seed": record.episodes.seed,
                    "episodes": record.episodes.count,
                    "limited": record.episodes.limited,
                    "protocol": record.episodes.protocol,
                    "status": record.status,
                    "miou": record.metrics.miou if record.metrics else None,
                    "reason": record.reason,
                    "finished": record.finished,
                    "folder": str(path.parent),
                }
            )
        found.sort(key=lambda run: [run[key] for key in _ORDER])
        if as_json:
            say(json.dumps(found, indent=1))
            return
        if not found:
            some = "" if pattern == "*" else f" that '{pattern}' matches"
            talk(f"there are no records{some} under {results / 'runs'}")
            if not some and (near := results_near(results)) is not None:
                talk(f"  hint: --results {near} has some")
            return
        headers = ["method", "version", "backbone", "domain", "shots", "seed"]
        rows = [
            [
                *(str(run[header]) for header in headers),
                f"first {run['episodes']}" if run["limited"] else str(run["episodes"]),
                run["protocol"],
                run["status"],
                "" if run["miou"] is None else f"{run['miou']:.2f}",
                run["reason"],
            ]
            for run in found
        ]
        show_table(
            [*headers, "episodes", "protocol", "status", "mIoU", "reason"],
            rows,
            numeric=["shots", "seed", "episodes", "mIoU"],
            secondary=["protocol", "backbone", "version", "reason"],
            wide=wide,
        )


_ORDER = ("domain", "shots", "method", "backbone", "seed", "protocol", "limited", "episodes")


def _marked(backbones: Iterable[str]) -> list[str]:
    """Names of backbones, those of the mini suite marked."""
    from cdfss_bench.methods.weights.search import is_toy

    return [f"{name} (mini suite)" if is_toy(name) else name for name in backbones]


def _matching(catalog: Catalog[Any], pattern: str) -> list[str]:
    """Names that match, whatever their case.

    Raises:
        UserError: if there is none.
    """
    from cdfss_bench.errors import UserError, unknown

    names = catalog.names()
    found = [name for name in names if fnmatchcase(name.lower(), pattern.lower())]
    if not found and not any(sign in pattern for sign in "*?["):
        raise unknown(catalog.kind, pattern, names)
    if not found:
        name = pattern.partition("[")[0]
        hint = f"the options of {name} stand in its card: name it alone" if name in names else None
        raise UserError(f"no {catalog.kind} fits '{pattern}'", hint=hint)
    return found
