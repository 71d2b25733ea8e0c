"""`cdfss-bench predict`: draw what a method predicts, on episodes or on pictures of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cautions import warn_of_cells, warn_of_weights
from .console import complain, talk
from .folders import refuse_unwritable
from .option_groups import expand_groups
from .selection_options import SelectionOptions
from .typed_options import first_typed

if TYPE_CHECKING:
    from ..planning.selection import Selection


@dataclass(frozen=True)
class OwnOptions:
    """Pictures of one's own, in place of the episodes of a domain."""

    query: Annotated[
        Path | None, typer.Option(help="Picture to segment, in place of episodes of a domain.")
    ] = None
    supports: Annotated[
        list[Path] | None,
        typer.Option("--support", help="Picture that shows the object, for --query. Repeatable."),
    ] = None
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            "--mask", help="Mask of the object in each --support, in their order. Repeatable."
        ),
    ] = None
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="For --query: write the picture with the mask drawn on it."),
    ] = False
    mask_options: Annotated[
        str,
        typer.Option(
            help="How masks of --mask are read, as options of the domain folder: labels=1, "
            "colors=#ff0000, ignore=255, orientation=stored.",
            show_default=False,
        ),
    ] = ""

    @property
    def is_meant(self) -> bool:
        """Whether any of them was typed."""
        return any(vars(self).values())


@expand_groups
def predict(
    context: typer.Context,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder that the pictures are written to; with --query the file to write.",
        ),
    ],
    options: SelectionOptions,
    own: OwnOptions,
    count: Annotated[
        int, typer.Option(min=1, help="Number of episodes per cell, the first ones.")
    ] = 3,
) -> None:
    """Draw what methods predict, on the first episodes of each cell or on a picture of your own.

    Without --query: support, query, ground truth and prediction of the first episodes, one picture
    per cell, DOMAIN-Kshot-seedS-PROTOCOL-METHOD-ID.png, where the id stands for options, weights
    and the number of episodes.

    With --query, --support and --mask: the predicted mask of the query, a PNG of 0 and 255 of the
    query's size, or with --overlay the query with the mask drawn on it.
    """
    if own.is_meant:
        if own.query is not None:
            _refuse_words_of_episodes(context)
        _own_pair(output, options.selection(), own)
        return
    import io

    from cdfss_bench.errors import UserError
    from cdfss_bench.files import write_atomically

    from ..evaluation.complete_weights import load_complete
    from ..planning.planned_cells import plan
    from ..reporting.qualitative.panels import file_name, panel, predicted, stacked
    from ..runtime.threads import fit_threads

    if output.suffix.lower() in (".png", ".jpg", ".jpeg") and not output.is_dir():
        raise UserError(
            f"-o {output} would be a folder of pictures, a file per cell",
            hint="name a folder, or a picture to segment with --query, --support and --mask",
        )
    refuse_unwritable("-o", output)
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
        network = load_complete(planned.composition, planned.cell.weights).optimized_for("cpu")
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


def _own_pair(output: Path, selection: Selection, own: OwnOptions) -> None:
    from cdfss_bench.datasets import DOMAINS
    from cdfss_bench.errors import UserError
    from cdfss_bench.files import write_atomically

    from ..evaluation.complete_weights import load_complete
    from ..evaluation.own_pair import predict_pair, read_pair
    from ..planning.planned_cells import compositions
    from ..planning.weights_choice import weights_of
    from ..reporting.qualitative.panels import file_of, laid_over
    from ..runtime.threads import fit_threads

    if own.query is None:
        raise UserError("--query is missing", hint="name the picture to segment: --query q.png")
    _refuse_output(output, own)
    _refuse_missing(own)
    published = compositions(selection)
    if len(published) != 1 or len(selection.seeds) != 1:
        raise UserError("--query is for one method and one seed", hint="name one with -m")
    (composition,) = published
    if composition.control:
        raise UserError(
            f"{composition.label} needs the classes of a domain",
            hint="name a domain with -d in place of --query",
        )
    on_mini = selection.suite == "mini"
    composition = composition.in_miniature() if on_mini else composition
    side = DOMAINS.card("mini-lesion" if on_mini else "folder").image_size
    pair = read_pair(own.query, own.supports or (), own.masks or (), side, own.mask_options)
    weights = weights_of(composition, selection, on_mini=on_mini)
    warn_of_weights([(composition, weights, on_mini)])
    fit_threads(side)
    mask = predict_pair(load_complete(composition, weights), pair, selection.seeds[0])
    picture = laid_over(pair.query, mask) if own.overlay else mask * 255
    write_atomically(output, file_of(picture, output.suffix))
    height, width = mask.shape
    talk(f"wrote {output} ({width}x{height}, {100 * mask.mean():.1f} % foreground)")


def _refuse_words_of_episodes(context: typer.Context) -> None:
    from cdfss_bench.errors import UserError

    option = first_typed(context, ("domains", "shots", "protocol", "count"))
    if option is not None:
        shots = "; each --support is a shot" if option == "--shots" else ""
        raise UserError(
            f"{option} is for episodes of a domain, and --query segments a picture of your own",
            hint=f"leave {option} out{shots}",
        )


def _refuse_missing(own: OwnOptions) -> None:
    from cdfss_bench.errors import UserError

    named = {"--query": [own.query], "--support": own.supports, "--mask": own.masks}
    for option, paths in named.items():
        for path in paths or ():
            if path is not None and not path.is_file():
                raise UserError(
                    f"{option} {path} is missing: there is no such file",
                    hint=f"name a picture: {option} FILE",
                )


def _refuse_output(output: Path, own: OwnOptions) -> None:
    from cdfss_bench.errors import UserError

    suffixes: Sequence[str] = (".png", ".jpg", ".jpeg") if own.overlay else (".png",)
    if output.is_dir() or output.suffix.lower() not in suffixes:
        kinds = "a PNG or JPEG file" if own.overlay else "a PNG file"
        raise UserError(f"-o {output} is not {kinds}", hint="name the file: -o out.png")
    refuse_unwritable("-o", output)
    named = [own.query, *(own.supports or ()), *(own.masks or ())]
    if output.exists() and any(p is not None and p.exists() and p.samefile(output) for p in named):
        raise UserError(f"-o {output} would replace a picture that is read")
