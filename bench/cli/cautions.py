"""What a command says once of weights with which its numbers are not what their names promise."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .console import talk

if TYPE_CHECKING:
    from cdfss_bench.methods.registry.name_grammar import Composition
    from cdfss_bench.methods.weights.resolve import Weights

    from ..planning.planned_cells import Planned


def warn_of_cells(cells: Iterable[Planned]) -> None:
    """Warns of methods without their source training or on a backbone they were not made for.

    Of the mini suite's weights on other data too.
    """
    warn_of_weights(
        (p.composition, p.cell.weights, p.episode_set.domain.card.suite == "mini")
        for p in cells
        if p.cell is not None
    )


def warn_of_weights(used: Iterable[tuple[Composition, Weights, bool]]) -> None:
    """As `warn_of_cells`, of (method, its weights, whether the data are the mini suite's)."""
    from cdfss_bench.methods.weights.search import trained_name, training_needs

    untrained: dict[str, tuple[str, str]] = {}
    plugged: dict[str, None] = {}
    sources: dict[str, None] = {}
    toys: dict[str, str] = {}
    elsewhere: dict[str, list[str]] = {}
    needs: dict[str, None] = {}
    for composition, weights, on_mini in used:
        if weights.kind(composition) == "not source-trained":
            untrained[composition.label] = (trained_name(composition), weights.backbone)
            needs |= dict.fromkeys([training_needs(composition)])
            plugged |= dict.fromkeys(_plugin_words(composition))
            sources |= {"--source mini" if on_mini else "--source pascal --data-root DIR": None}
        if weights.is_toy and not on_mini:
            toys[composition.label] = weights.backbone
        if told := composition.made_elsewhere(weights.backbone):
            labels = elsewhere.setdefault(told, [])
            labels += [composition.label] if composition.label not in labels else []
    for told, labels in elsewhere.items():
        talk(f"warning: {', '.join(labels)}: {told}; its tables say so")
    if untrained:
        names = list(dict.fromkeys(name for name, _ in untrained.values()))
        backbones = {backbone for _, backbone in untrained.values()}
        typed = " ".join(f"-m '{name}'" for name in names)
        on = f" --backbone {min(backbones)}" if len(backbones) == 1 else ""
        folders = "".join(f" {words}" for words in plugged)
        talk(
            f"warning: {', '.join(untrained)}: only the backbone's weights are here, so this is "
            "not the published method and is named NAME (not source-trained)"
        )
        talk(
            f"  hint: cdfss-bench train {typed}{on} {min(sources)}{folders}, and the same command "
            "again; or, for authors' weights, cdfss-bench weights convert FILE "
            f"-m '{names[0]}'{on}{folders}"
        )
        for told in filter(None, needs):
            talk(f"  {told}")
    if toys:
        backbones = sorted(set(toys.values()))
        talk(
            f"warning: {', '.join(toys)}: weights of the mini suite ({', '.join(backbones)}) on "
            "other data are a trial, not a result"
        )


def _plugin_words(composition: Composition) -> list[str]:
    """What names the folders of parts that lie in no installed package."""
    from cdfss_bench.methods.registry.name_grammar import METHODS

    origins = [METHODS.origin(part.card.name) for part in composition.parts]
    folders = [origin.path.parent for origin in origins if origin.package is None]
    here = Path.cwd()
    near = [
        folder.relative_to(here) if folder.is_relative_to(here) else folder for folder in folders
    ]
    return [f"--plugin {shlex.quote(str(folder))}" for folder in near]
