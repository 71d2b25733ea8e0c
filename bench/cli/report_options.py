"""The options of `cdfss-bench report`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .completion import words_of

_which = partial(typer.Option, rich_help_panel="Which rows")
_what = partial(typer.Option, rich_help_panel="What is shown of them")
_pictures = partial(typer.Option, rich_help_panel="Pictures on the page")


@dataclass(frozen=True)
class RowOptions:
    """Which rows are shown, and in which order."""

    pretraining: Annotated[
        list[str] | None,
        _which(
            help="Show only rows whose backbone was pretrained on this (ImageNet-1k, DINOv2, ...), "
            "and rows without a backbone. Repeatable."
        ),
    ] = None
    sizes: Annotated[
        list[int] | None,
        _which(
            "--size",
            help="Show only rows whose backbone sees images of this side in pixels (400, 1024, "
            "...), and rows without a backbone. Repeatable.",
        ),
    ] = None
    latest: Annotated[
        bool,
        _which(
            "--latest",
            help="Of several versions of a method on a backbone (other weights) show the one that "
            "finished last.",
        ),
    ] = False
    sort: Annotated[
        str,
        _which(
            help="Sort the rows of each section by mean, method, params, GFLOP, ms or a domain.",
            autocompletion=words_of("mean", "method", "params", "GFLOP", "ms"),
        ),
    ] = "mean"
    no_controls: Annotated[
        bool,
        _which(
            "--no-controls",
            help="Leave out the control rows; what they say of the methods is still shown.",
        ),
    ] = False


@dataclass(frozen=True)
class ContentOptions:
    """What is shown of the rows."""

    cost: Annotated[
        bool,
        _what(
            "--cost",
            help="Show the cost of every row (operations, time, memory) and the Pareto front.",
        ),
    ] = False
    metric: Annotated[
        str,
        _what(
            help="Metric of the tables: miou, dice, fb-iou, macro-iou or macro-dice. CSV and JSON "
            "hold all of them.",
            autocompletion=words_of("miou", "dice", "fb-iou", "macro-iou", "macro-dice"),
        ),
    ] = "miou"
    per_class: Annotated[
        bool,
        _what("--per-class", help="Show IoU and Dice of every class, a table per domain."),
    ] = False
    boundary: Annotated[
        bool,
        _what(
            "--boundary",
            help="Show HD95, NSD and boundary IoU, a table per domain; `run --boundary` computes "
            "them.",
        ),
    ] = False
    conclusions: Annotated[
        bool,
        _what(
            "--conclusions",
            help="Show below each table of mIoU what its paired tests allow to conclude, as the "
            "page does.",
        ),
    ] = False
    notes: Annotated[
        bool,
        _what("--notes", help="Print every note of a record; by default at most two lines a row."),
    ] = False
    style: Annotated[
        str,
        _what(
            help="Style of -f latex: plain, or paper (one booktabs table with all shots side by "
            "side, names as published with citations, and significance marks).",
            autocompletion=words_of("plain", "paper"),
        ),
    ] = "plain"
    columns: Annotated[
        list[str] | None,
        _what(
            help="Show only these columns, separated by commas, beside the method: domains, mean, "
            "GFLOP, ... For csv and json, names of their values. Repeatable."
        ),
    ] = None


@dataclass(frozen=True)
class PictureOptions:
    """Which pictures of episodes a page shows."""

    panels: Annotated[
        bool,
        _pictures(
            "--panels",
            help="Add pictures of single episodes to the HTML page; needs the data and weights.",
        ),
    ] = False
    episodes: Annotated[
        bool,
        _pictures(
            "--episodes",
            help="Also write every episode as pictures, a folder of pages beside the HTML page "
            "(PAGE-episodes, or episodes in the folder of --site); needs the data and weights. "
            "Pictures that are there are kept.",
        ),
    ] = False
    masks: Annotated[
        Path | None,
        _pictures(
            help="Folder of saved masks (run --save-masks, or of another program) that --episodes "
            "shows in place of computing them.",
            show_default=False,
        ),
    ] = None
