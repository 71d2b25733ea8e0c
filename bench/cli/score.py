"""`cdfss-bench score`: masks of any program become a row."""

from pathlib import Path
from typing import Annotated

import typer

from .completion import words_of
from .console import talk
from .options import (
    AsJson,
    Boundary,
    DataRoot,
    Lists,
    Plugins,
    Results,
    Tolerance,
    Wide,
    add_plugins,
    tolerance_of,
)
from .scored_boards import show_records


def score(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of `episodes export` or of `run --save-masks`, or a folder of such "
            "folders.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method", "-m", help="Name of the program; tables show it as NAME (external)."
        ),
    ],
    adaptation: Annotated[
        str,
        typer.Option(
            help="What the program learns from at test: none, episode (the supports of each "
            "episode) or transductive (the unlabelled query too).",
            autocompletion=words_of("none", "episode", "transductive"),
        ),
    ] = "none",
    pretraining: Annotated[
        str | None,
        typer.Option(
            help="Data that its backbone was pretrained on; none if it has no such backbone. "
            "Unknown data by default, which is compared apart.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the masks, if it is not the folder `predictions` beside index.json.",
            show_default=False,
        ),
    ] = None,
    boundary: Boundary = False,
    boundary_tolerance: Tolerance = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    lists: Lists = None,
    plugins: Plugins = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Count the masks of any program, one PNG per episode, and record them as an external row.

    Every mask must be there: a PNG named by the number of its episode, 00000.png and so on, of the
    size of the exported pictures, with 0 and 255 or with 0 and 1. The data of the export must be
    here, since the masks of the queries are read from them.

    Exit code 2: a mask is missing or is not as it must be, or the export belongs to other data.
    """
    from cdfss_bench.errors import UserError

    from ..evaluation.episode_export import INDEX, read_index
    from ..evaluation.external import UNSTATED, Statement
    from ..evaluation.external import score as scored

    add_plugins(plugins)
    statement = Statement(method, adaptation, UNSTATED if pretraining is None else pretraining)
    found = [folder] if (folder / INDEX).is_file() else []
    found = found or sorted(path.parent for path in folder.rglob(INDEX))
    asked: dict[str, Path] = {}
    for one in found:
        other = asked.setdefault(read_index(one).manifest_sha256, one)
        if other != one:
            raise UserError(
                f"{other} and {one} hold masks of the same episodes",
                hint="score each with a name of its own",
            )
    if len(found) > 1 and predictions is not None:
        raise UserError(
            f"--predictions is for one export, and {folder} holds {len(found)}",
            hint="name the folder of one of them",
        )
    tolerance = tolerance_of(boundary, boundary_tolerance)
    records = [
        scored(
            one,
            statement,
            results,
            root=data_root,
            lists=lists,
            predictions=predictions,
            boundary=tolerance,
        )
        for one in found or [folder]
    ]
    for done in records:
        record = done.record
        assert record.metrics is not None
        talk(
            f"{record.name} · {record.domain.title} · {record.episodes.shots}-shot · seed "
            f"{record.episodes.seed}: mIoU {record.metrics.miou:.2f}"
            + (" (already complete)" if done.is_known else "")
        )
    if pretraining is None:
        talk("note: --pretraining is not stated: the row is compared apart from others")
    written = [done.record for done in records]
    show_records(written, results, boundaries=tolerance is not None, wide=wide, as_json=as_json)
