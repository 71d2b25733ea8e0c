"""The options of `cdfss-bench report`, and which of them do not go together."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .completion import words_of
from .folders import refuse_file, refuse_unwritable

FORMATS = ("table", "md", "latex", "bibtex", "csv", "json", "html")
STYLES = ("plain", "paper")
_ENDINGS = {
    ".md": "md", ".tex": "latex", ".bib": "bibtex", ".csv": "csv", ".json": "json",
    ".html": "html", ".htm": "html",
}  # fmt: skip
"""Formats by the endings of files that are named after them."""

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


def refuse_contradictions(
    form: str,
    output: Path | None,
    site: Path | None,
    against: str | None,
    asked: ContentOptions,
    pictures: PictureOptions,
) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        UserError: for the first of them.
    """
    from cdfss_bench.errors import UserError, unknown

    from ..statistics.metrics import METRICS

    for word, value, known in (
        ("format", form, FORMATS),
        ("metric", asked.metric, METRICS),
        ("style", asked.style, STYLES),
    ):
        if value not in known:
            raise unknown(word, value, known)
    if site is not None and form not in ("table", "html"):
        raise UserError(
            f"--site writes pages, a CSV and a JSON file, and -f {form} is one file",
            hint="leave one of them out",
        )
    refuse_file("--site", site)
    if asked.style == "paper" and form != "latex":
        raise UserError("--style paper is LaTeX", hint="add -f latex")
    on_page = form == "html" or site is not None
    if pictures.panels and not on_page:
        raise UserError(
            "pictures of episodes stand on the page", hint="add -f html -o FILE, or --site DIR"
        )
    if pictures.episodes and site is None and (form != "html" or output is None):
        raise UserError(
            "the pictures of all episodes are a folder of pages",
            hint="add -f html -o FILE, or --site DIR",
        )
    if pictures.masks is not None and not pictures.episodes:
        raise UserError("--masks is for the pictures of all episodes", hint="add --episodes")
    if asked.cost and (on_page or against is not None):
        raise UserError(
            "the page says what everything costs anyway, papers do not",
            hint="leave --cost out, or ask for it alone: report --cost -f csv",
        )
    _check_output(form, output)
    if asked.conclusions and (
        form in ("csv", "json", "bibtex") or asked.style == "paper" or asked.cost
    ):
        raise UserError(
            "conclusions stand below the tables of mIoU",
            hint="leave --conclusions out, or write them with -f table, md, latex or html",
        )
    if form == "bibtex" and (asked.cost or asked.per_class or asked.boundary or asked.columns):
        raise UserError("bibtex holds the papers of the methods alone", hint="give -f bibtex alone")
    if asked.conclusions and (asked.metric != "miou" or asked.per_class or asked.boundary):
        raise UserError("conclusions are drawn from mIoU", hint="leave --conclusions out")
    other = asked.metric != "miou" or asked.per_class or asked.boundary
    if other and (on_page or against is not None or asked.cost):
        raise UserError(
            "published figures, costs and the page's ranks stand beside mIoU alone",
            hint="leave --metric, --per-class and --boundary out, or ask for them alone",
        )


def _check_output(form: str, output: Path | None) -> None:
    """Refuses a file that cannot be written, or whose name says another format."""
    from cdfss_bench.errors import UserError

    if output is None:
        return
    if output.is_dir():
        ending = next((end for end, name in _ENDINGS.items() if name == form), ".txt")
        raise UserError(
            f"--output {output} is a folder", hint=f"name a file: -o {output / 'board'}{ending}"
        )
    said = _ENDINGS.get(output.suffix.lower(), form)
    # Into a file the table is written as Markdown.
    if said != form and (form, said) != ("table", "md"):
        raise UserError(
            f"--output {output} is named as {said}, but the format is {form}",
            hint=f"add -f {said}, or name the file otherwise",
        )
    refuse_unwritable("--output", output)
