"""`cdfss-bench report`: leaderboards from the records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..comparison.leaderboard import Leaderboard
    from ..records.results import RunResult
    from ..reporting.qualitative.redrawn import Redrawer
    from ..reporting.text_table import TextTable

from .console import left_out, say, show, talk
from .option_groups import Only, expand_groups
from .options import Results, SelectionOptions, Wide, add_plugins

FORMATS = ("table", "md", "latex", "bibtex", "csv", "json", "html")
STYLES = ("plain", "paper")


FOR_PICTURES = Only("data_root", "lists", "weights_dirs", "plugins")


@expand_groups
def report(
    *,
    results: Results = Path("results"),
    form: Annotated[
        str,
        typer.Option(
            "--format", "-f", help=f"Output format: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ),
    ] = "table",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File that is written instead of standard output."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Also compare with published numbers: published for those of the papers, or a "
            "FILE like results/published.csv."
        ),
    ] = None,
    site: Annotated[
        Path | None, typer.Option(help="Write a static site of all leaderboards to this folder.")
    ] = None,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost",
            help="Show the cost of every row (operations, time, memory) and the Pareto front.",
        ),
    ] = False,
    metric: Annotated[
        str,
        typer.Option(
            help="Metric of the tables: miou, dice, fb-iou, macro-iou or macro-dice. CSV and JSON "
            "hold all of them."
        ),
    ] = "miou",
    per_class: Annotated[
        bool,
        typer.Option("--per-class", help="Show IoU and Dice of every class, a table per domain."),
    ] = False,
    boundary: Annotated[
        bool,
        typer.Option(
            "--boundary",
            help="Show HD95, NSD and boundary IoU, a table per domain; `run --boundary` computes "
            "them.",
        ),
    ] = False,
    panels: Annotated[
        bool,
        typer.Option(
            "--panels",
            help="Add pictures of single episodes to the HTML page; needs the data and weights.",
        ),
    ] = False,
    episodes: Annotated[
        bool,
        typer.Option(
            "--episodes",
            help="Also write every episode as pictures, a folder of pages beside the HTML page "
            "(PAGE-episodes, or episodes in the folder of --site); needs the data and weights. "
            "Pictures that are there are kept.",
        ),
    ] = False,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of saved masks (run --save-masks, or of another program) that --episodes "
            "shows in place of computing them.",
            show_default=False,
        ),
    ] = None,
    pretraining: Annotated[
        list[str] | None,
        typer.Option(
            help="Show only rows whose backbone was pretrained on this (ImageNet-1k, DINOv2, ...), "
            "and rows without a backbone. Repeatable."
        ),
    ] = None,
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--size",
            help="Show only rows whose backbone sees images of this side in pixels (400, 1024, "
            "...), and rows without a backbone. Repeatable.",
        ),
    ] = None,
    notes: Annotated[
        bool,
        typer.Option(
            "--notes", help="Print every note of a record; by default at most two lines a row."
        ),
    ] = False,
    style: Annotated[
        str,
        typer.Option(
            help="Style of -f latex: plain, or paper (one booktabs table with all shots side by "
            "side, names as published with citations, and significance marks)."
        ),
    ] = "plain",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Show only these columns, separated by commas, beside the method: domains, mean, "
            "GFLOP, ... For csv and json, names of their values. Repeatable."
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            help="Sort the rows of each section by mean, method, params, GFLOP, ms or a domain."
        ),
    ] = "mean",
    no_controls: Annotated[
        bool,
        typer.Option(
            "--no-controls",
            help="Leave out the control rows; what they say of the methods is still shown.",
        ),
    ] = False,
    latest: Annotated[
        bool,
        typer.Option(
            "--latest",
            help="Of several versions of a method on a backbone (other weights) show the one that "
            "finished last.",
        ),
    ] = False,
    wide: Wide = False,
    options: Annotated[SelectionOptions, FOR_PICTURES],
) -> None:
    """Show the leaderboards of all records: methods by domains, with intervals and cost.

    If several records answer the same cell, the newest one of the installed code is shown; records
    of older code are marked as stale. Reads only the records: no network, data or GPU is needed,
    except with --panels, which computes the masks of a few episodes again, and --episodes, which
    computes those of all.
    """
    from cdfss_bench.errors import UserError, unknown
    from cdfss_bench.files import write_atomically

    from ..comparison.current import latest_versions
    from ..comparison.leaderboard import Arrangement, leaderboards
    from ..comparison.measures import in_metric, measures
    from ..comparison.published import find_published, read_published
    from ..comparison.ranking import standings
    from ..records.results import run_results
    from ..reporting.citations import bibtex
    from ..reporting.columns import only_columns
    from ..reporting.cost_table import cost_table
    from ..reporting.export import (
        as_csv,
        as_json,
        classes_as_csv,
        classes_as_json,
        cost_as_csv,
        cost_as_json,
    )
    from ..reporting.html.document import as_html, as_pages
    from ..reporting.html.site import write_site
    from ..reporting.latex import as_latex
    from ..reporting.leaderboard_table import text_table
    from ..reporting.paper_table import as_paper
    from ..reporting.published_table import published_table
    from ..reporting.text_table import as_markdown
    from ..statistics.metrics import METRICS

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    if style == "paper" and form != "latex":
        raise UserError("--style paper is LaTeX", hint="add -f latex")
    named = [word for typed in columns or () for word in map(str.strip, typed.split(",")) if word]
    arrangement = Arrangement(sort, not no_controls, tuple(named))
    add_plugins(options.plugins)
    with left_out() as damaged:
        found = run_results(results, damaged.append)
        if pretraining:
            found = _pretrained_on(pretraining, found)
        if sizes:
            found = _of_size(sizes, found)
        if latest:
            found = latest_versions(found)
        boards = leaderboards((answer.record for answer in found), arrangement)
        if not boards:
            raise UserError(
                f"there are no records under {results / 'runs'}",
                hint="cdfss-bench run -m loec -k 5",
            )
        if panels and form != "html" and site is None:
            raise UserError(
                "pictures of episodes stand on the page", hint="add -f html -o FILE, or --site DIR"
            )
        if cost and (form == "html" or site is not None or against is not None):
            raise UserError(
                "the page says what everything costs anyway, papers do not",
                hint="leave --cost out, or ask for it alone: report --cost -f csv",
            )
        if (metric != "miou" or per_class or boundary) and (
            form == "html" or site is not None or against is not None or cost
        ):
            raise UserError(
                "published figures, costs and the page's ranks stand beside mIoU alone",
                hint="leave --metric, --per-class and --boundary out, or ask for them alone",
            )
        _check_episodes(form, output, site, masks, episodes=episodes)
        source = _redrawer(options).panels if panels else None
        published = None
        if against is not None:
            file = find_published(results) if against == "published" else Path(against)
            published = read_published(file)
        if named and (form == "html" or site is not None):
            # Every page is written by itself; what none of them has is refused before.
            only_columns([text_table(board, {}) for board in boards], named)
        if site is not None:
            gallery = "episodes/index.html" if episodes else ""
            for path in write_site(
                site,
                found,
                published,
                source,
                every_note=notes,
                arrangement=arrangement,
                gallery=gallery,
            ):
                talk(f"wrote {path}")
            if episodes:
                _write_gallery(site / "episodes", "../index.html", found, boards, masks, options)
            return
        if cost and form in ("csv", "json"):
            text = (cost_as_csv if form == "csv" else cost_as_json)(boards, named)
        elif per_class and form in ("csv", "json"):
            lines = classes_as_csv if form == "csv" else classes_as_json
            text = lines(
                boards, [measures(board, found, intervals=False) for board in boards], named
            )
        elif form in ("csv", "json"):
            # Keys of rows recur on other boards: each board is written with its own standings.
            write = as_csv if form == "csv" else as_json
            where = [standings(board, found) for board in boards]
            text = write(boards, where, [measures(board, found) for board in boards], named)
        elif form == "bibtex":
            rows = (row for board in boards for part in board.sections() for row in part.rows)
            text = bibtex(row.key.label for row in rows)
        elif style == "paper":
            text = as_paper(boards, [standings(board, found) for board in boards], named)
        elif form == "html":
            if output is not None:
                folder = output.with_name(f"{output.stem}-episodes")
                gallery = f"{folder.name}/index.html" if episodes else ""
                for name, page in as_pages(
                    found,
                    published,
                    source,
                    every_note=notes,
                    arrangement=arrangement,
                    name=output.name,
                    gallery=gallery,
                ).items():
                    write_atomically(output.with_name(name), page)
                    talk(f"wrote {output.with_name(name)}")
                if episodes:
                    _write_gallery(folder, f"../{output.name}", found, boards, masks, options)
                return
            text = as_html(found, published, source, every_note=notes, arrangement=arrangement)
        else:
            tables = []
            for board in boards:
                if cost:
                    tables.append(cost_table(board, every_note=notes))
                elif per_class or boundary:
                    tables += _measure_tables(board, found, per_class, boundary)
                else:
                    shown = in_metric(board, metric, found)
                    tables.append(text_table(shown, standings(shown, found), every_note=notes))
                if published is not None and board.key.suite == "cdfss":
                    tables.append(published_table(board, published))
            if not tables:
                raise UserError(
                    "no record here has boundary measures",
                    hint="type the run again with --boundary: its counts stay, and they are added",
                )
            tables = only_columns(tables, named) if named else tables
            if published is not None and all(board.key.suite == "mini" for board in boards):
                talk(
                    "published figures are of the real targets; these records are of the mini suite"
                )
            if form == "table" and output is None:
                show(*tables, wide=wide)
                return
            text = as_latex(tables) if form == "latex" else as_markdown(tables)
        if output is None:
            say(text)
        else:
            write_atomically(output, text)
            talk(f"wrote {output}")


def _measure_tables(
    board: Leaderboard, found: Sequence[RunResult], per_class: bool, boundary: bool
) -> list[TextTable]:
    """Tables by class and of boundaries, a domain each."""
    from ..comparison.measures import measures
    from ..reporting.boundary_table import boundary_tables
    from ..reporting.class_table import class_tables

    measured = measures(board, found, intervals=False)
    tables = class_tables(board, measured) if per_class else []
    if boundary:
        tables += boundary_tables(board, measured)
    return tables


def _pretrained_on(wanted: Sequence[str], found: Sequence[RunResult]) -> list[RunResult]:
    """Results of backbones whose pretraining begins with one of `wanted`, and without a backbone.

    Raises:
        UserError: if no backbone was pretrained on one of them.
    """
    from cdfss_bench.errors import unknown

    known = sorted({one.record.weights.pretraining for one in found} - {""})
    for word in wanted:
        if not any(name.lower().startswith(word.lower()) for name in known):
            raise unknown("pretraining", word, known)
    begins = tuple(word.lower() for word in wanted)
    return [
        one
        for one in found
        if not (own := one.record.weights.pretraining.lower()) or own.startswith(begins)
    ]


def _of_size(wanted: Sequence[int], found: Sequence[RunResult]) -> list[RunResult]:
    """Results of backbones that see images of one of the sizes, and without a backbone.

    Raises:
        UserError: if none sees one of them.
    """
    from cdfss_bench.errors import UserError

    known = sorted({one.record.method.input_size for one in found} - {0})
    for size in wanted:
        if size not in known:
            raise UserError(
                f"no backbone of these records sees images of {size} pixels",
                hint=f"the sizes are {', '.join(map(str, known)) or 'not known'}",
            )
    return [one for one in found if one.record.method.input_size in (0, *wanted)]


def _check_episodes(
    form: str, output: Path | None, site: Path | None, masks: Path | None, *, episodes: bool
) -> None:
    from cdfss_bench.errors import UserError

    if episodes and site is None and (form != "html" or output is None):
        raise UserError(
            "the pictures of all episodes are a folder of pages",
            hint="add -f html -o FILE, or --site DIR",
        )
    if masks is not None and not episodes:
        raise UserError("--masks is for the pictures of all episodes", hint="add --episodes")


def _write_gallery(
    folder: Path,
    back: str,
    found: Sequence[RunResult],
    boards: Sequence[Leaderboard],
    masks: Path | None,
    options: SelectionOptions,
) -> None:
    """Write the pages of all episodes; what that takes is said first."""
    from ..comparison.current import by_cell
    from ..reporting.qualitative.gallery import Gallery, SavedMasks

    saved = None if masks is None else SavedMasks(masks)
    gallery = Gallery(folder, boards, by_cell(found), _redrawer(options), saved, back)
    talk(gallery.forecast())
    talk(f"wrote {gallery.write()}")
    for line in gallery.reasons():
        talk(f"note: {line}")


def _redrawer(options: SelectionOptions) -> Redrawer:
    from cdfss_bench.methods.weights.search import default_folders

    from ..reporting.qualitative.redrawn import Redrawer

    folders = [*(options.weights_dirs or ()), *default_folders()]
    return Redrawer(options.data_root, options.lists, folders)
