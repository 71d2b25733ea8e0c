"""`cdfss-bench predict`: draw what a method predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cautions import warn_of_cells
from .console import complain, talk
from .option_groups import expand_groups
from .options import SelectionOptions


@expand_groups
def predict(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that the pictures are written to.")
    ],
    options: SelectionOptions,
    count: Annotated[
        int, typer.Option(min=1, help="Number of episodes per cell, the first ones.")
    ] = 3,
) -> None:
    """Draw support, query, ground truth and prediction of the first episodes of each cell.

    Writes one picture per cell: DOMAIN-Kshot-seedS-PROTOCOL-METHOD-ID.png, where the id stands for
    options, weights and the number of episodes.
    """
    import io

    from cdfss_bench.errors import UserError
    from cdfss_bench.files import write_atomically

    from ..evaluation.prediction import load_method
    from ..planning.selection import plan
    from ..reporting.qualitative.panels import file_name, panel, predicted, stacked
    from ..runtime.threads import fit_threads

    selection = options.selection(episodes=count)
    refused = False
    cells = list(plan(selection))
    warn_of_cells(cells)
    for planned in cells:
        if planned.cell is None:
            complain(UserError(planned.reason, hint=planned.hint))
            refused = True
            continue
        fit_threads(planned.episode_set.domain.card.image_size)
        network = load_method(planned.composition, planned.cell.weights).optimized_for("cpu")
        episode_set = planned.episode_set
        strips = [
            panel(
                episode_set.domain,
                episode,
                predicted(network, episode_set.domain, episode, episode_set.seed),
                title=f"{planned.name}, {episode.query}",
            )
            for episode in episode_set.manifest
        ]
        path = output / file_name(planned.cell)
        out = io.BytesIO()
        stacked(strips).save(out, "PNG")
        write_atomically(path, out.getvalue())
        talk(f"wrote {path}")
    if refused:
        raise typer.Exit(2)
