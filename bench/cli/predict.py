"""`cdfss-bench predict`: look at what a method sees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cautions import warn_of_cells
from .options import (
    Backbone,
    DataRoot,
    Domains,
    Lists,
    Methods,
    Plugins,
    Protocol,
    Seeds,
    Shots,
    Suite,
    WeightFiles,
    WeightsDirs,
    add_plugins,
    selected,
)
from .talk import complain, talk


def predict(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")],
    methods: Methods = None,
    domains: Domains = None,
    shots: Shots = None,
    seeds: Seeds = None,
    protocol: Protocol = None,
    suite: Suite = None,
    data_root: DataRoot = None,
    lists: Lists = None,
    backbone: Backbone = None,
    weights: WeightFiles = None,
    weights_dirs: WeightsDirs = None,
    plugins: Plugins = None,
    count: Annotated[int, typer.Option(min=1, help="Episodes per cell, the first ones.")] = 3,
) -> None:
    """Draw support, query, truth and prediction of the first episodes of each cell."""
    import io

    from cdfss_bench.errors import UserError
    from cdfss_bench.files import write_atomically
    from cdfss_bench.methods.building import build
    from cdfss_bench.methods.weights import load_weights

    from ..evaluate import adaptation_stream
    from ..panels import panel, predicted, stacked
    from ..selection import plan

    add_plugins(plugins)
    selection = selected(
        None,
        methods=methods,
        domains=domains,
        shots=shots,
        seeds=seeds,
        protocol=protocol,
        suite=suite,
        data_root=data_root,
        lists=lists,
        backbone=backbone,
        weights=weights,
        weights_dirs=weights_dirs,
        episodes=count,
    )
    refused = False
    cells = list(plan(selection))
    warn_of_cells(cells)
    for planned in cells:
        if planned.cell is None:
            complain(UserError(planned.reason, mend=planned.mend))
            refused = True
            continue
        network = build(planned.composition, backbone=planned.cell.weights.backbone or None)
        load_weights(network, planned.cell.weights)
        question = planned.question
        strips = [
            panel(
                question.domain,
                episode,
                predicted(
                    network, question.domain, episode, adaptation_stream(question.seed, episode)
                ),
                title=f"{planned.name}, {episode.query}",
            )
            for episode in question.manifest
        ]
        name = f"{question.domain.title}-{question.shots}shot-{planned.composition.label}.png"
        out = io.BytesIO()
        stacked(strips).save(out, "PNG")
        write_atomically(output / name.replace("/", "_"), out.getvalue())
        talk(f"wrote {output / name}")
    if refused:
        raise typer.Exit(2)
