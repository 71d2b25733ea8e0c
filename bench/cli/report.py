"""`cdfss-bench report`: leaderboards from the records."""

from __future__ import annotations

import gc
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import words_of
from .console import left_out, say, screen_width, show, talk
from .no_records import no_records
from .option_groups import Only, expand_groups
from .options import Results, Wide, add_plugins
from .record_filter import ALL_UNLESS_TYPED, RecordOptions, record_filter
from .report_options import (
    FORMATS,
    ContentOptions,
    PictureOptions,
    RowOptions,
    refuse_contradictions,
)
from .selection_options import SelectionOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdfss_bench.errors import UserError

    from ..comparison.leaderboard import Arrangement, Leaderboard
    from ..records.results import RunResult
    from ..reporting.forms import Content
    from ..reporting.qualitative.redrawn import Redrawer
    from ..reporting.qualitative.saved_masks import SavedMasks

FOR_PICTURES = Only("data_root", "lists", "weights_dirs", "plugins")


@expand_groups
def report(
    *,
    results: Results = Path("results"),
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help=f"Output format: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
            autocompletion=words_of(*FORMATS),
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
    which: Annotated[RecordOptions, ALL_UNLESS_TYPED],
    rows: RowOptions,
    asked: ContentOptions,
    pictures: PictureOptions,
    wide: Wide = False,
    options: Annotated[SelectionOptions, FOR_PICTURES],
) -> None:
    """Show the leaderboards of all records: methods by domains, with intervals and cost.

    If several records answer the same cell, the newest one of the installed code is shown; records
    of older code are marked as stale. Reads only the records: no network, data or GPU is needed,
    except with --panels, which computes the masks of a few episodes again, and --episodes, which
    computes those of all.
    """
    from cdfss_bench.errors import UserError

    from ..comparison.current import by_cell, chosen
    from ..comparison.gathering import leaderboards
    from ..comparison.leaderboard import Arrangement
    from ..comparison.published import find_published, read_published
    from ..records.results import uncollected
    from ..reporting.forms import Content, tables_of, text_of

    refuse_contradictions(form, output, site, against, asked, pictures)
    add_plugins(options.plugins)
    typed = (word.strip() for one in asked.columns or () for word in one.split(","))
    columns = tuple(filter(None, typed))
    arrangement = Arrangement(
        rows.sort,
        with_controls=not rows.no_controls,
        columns=columns,
        of_all_domains=not which.domains,
    )
    pages = site is not None or form == "html"
    with left_out() as damaged, nullcontext() if pages else uncollected():
        found = _chosen(results, which, rows, damaged)
        # Thousands of records stay to the end; collections need not look at them again and again.
        gc.freeze()
        choice = chosen(answer.record for answer in found)
        boards = leaderboards((answer.record for answer in found), arrangement, choice)
        if not boards:
            raise _nothing(results, which)
        if rows.no_controls and not pages:
            boards = [b for b in boards if not b.rows or any(b.sections())]
        if not boards:
            raise UserError(
                "these records are of control rows alone, which --no-controls leaves out",
                hint="leave --no-controls out",
            )
        published = None
        if against is not None:
            file = find_published(results) if against == "published" else Path(against)
            published = read_published(file)
            if not pages and all(b.key.suite == "mini" for b in boards):
                talk(
                    "published figures are of the real targets; these records are of the mini suite"
                )
        on_screen = form == "table" and output is None and site is None
        content = Content(
            metric=asked.metric,
            cost=asked.cost,
            per_class=asked.per_class,
            boundary=asked.boundary,
            paper=asked.style == "paper",
            conclusions=asked.conclusions,
            every_note=asked.notes,
            columns=columns,
            published=published,
            width=screen_width(sys.stdout) if on_screen and not wide else None,
        )
        if pages:
            _write_pages(site, output, found, boards, content, arrangement, pictures, options)
        elif on_screen:
            show(*tables_of(boards, by_cell(found, choice), content), wide=wide)
        else:
            _write(text_of(form, boards, by_cell(found, choice), content), output)


def _nothing(results: Path, which: RecordOptions) -> UserError:
    from cdfss_bench.errors import UserError

    if which.is_limit:
        return UserError("no record fits all of these options", hint="leave one of them out")
    return no_records(results)


def _chosen(
    results: Path, which: RecordOptions, rows: RowOptions, damaged: list[UserError]
) -> list[RunResult]:
    from ..comparison.current import is_finished, latest_versions, shown
    from ..comparison.filters import of_size, pretrained_on
    from ..records.results import run_results

    found = run_results(results, damaged.append)
    if rows.pretraining:
        found = pretrained_on(rows.pretraining, found)
    if rows.sizes:
        found = of_size(rows.sizes, found)
    if rows.latest:
        found = latest_versions(found)
    if not which.is_limit:
        return found
    selected = record_filter(which, found)
    # What is shown is decided among all records: a limit brings no older one to light.
    rest = [result for result in found if not is_finished(result.record)]
    return list(filter(selected, [*shown(found), *rest]))


def _write(text: str, output: Path | None) -> None:
    from cdfss_bench.files import write_atomically

    if output is None:
        say(text)
        return
    write_atomically(output, text)
    talk(f"wrote {output}")


def _write_pages(
    site: Path | None,
    output: Path | None,
    found: Sequence[RunResult],
    boards: Sequence[Leaderboard],
    content: Content,
    arrangement: Arrangement,
    pictures: PictureOptions,
    options: SelectionOptions,
) -> None:
    """Write a site, a page with those that continue it, or one page to standard output."""
    from ..reporting.forms import check_columns
    from ..reporting.html.document import as_pages
    from ..reporting.html.site import write_site

    if content.columns:
        # Every page is written by itself; what none of them has is refused before.
        check_columns(boards, content.columns)
    saved = None if pictures.masks is None else _saved(pictures.masks)
    panels = _redrawer(options).panels if pictures.panels else None
    draw = partial(
        as_pages,
        found,
        content.published,
        panels,
        every_note=content.every_note,
        arrangement=arrangement,
    )
    first = output if site is None else site / "index.html"
    if first is None:
        say(draw(name="")[""])
        return
    folder = first.with_name("episodes" if site is not None else f"{first.stem}-episodes")
    pages = draw(name=first.name, gallery=f"{folder.name}/index.html" if pictures.episodes else "")
    if site is not None:
        for path in write_site(site, pages, found, boards):
            talk(f"wrote {path}")
    else:
        for name, page in pages.items():
            _write(page, first.with_name(name))
    if pictures.episodes:
        _write_gallery(folder, first.name, found, boards, saved, options)


def _write_gallery(
    folder: Path,
    page: str,
    found: Sequence[RunResult],
    boards: Sequence[Leaderboard],
    saved: SavedMasks | None,
    options: SelectionOptions,
) -> None:
    """Write the pages of all episodes; what that takes is said first."""
    from ..comparison.current import by_cell
    from ..reporting.qualitative.gallery import Gallery

    gallery = Gallery(folder, boards, by_cell(found), _redrawer(options), saved, f"../{page}")
    talk(gallery.forecast())
    talk(f"wrote {gallery.write()}")
    for line in gallery.reasons():
        talk(f"note: {line}")


def _saved(masks: Path) -> SavedMasks:
    from ..reporting.qualitative.saved_masks import SavedMasks  # which imports torch

    return SavedMasks(masks)


def _redrawer(options: SelectionOptions) -> Redrawer:
    from cdfss_bench.methods.weights.search import default_folders

    from ..reporting.qualitative.redrawn import Redrawer

    folders = [*(options.weights_dirs or ()), *default_folders()]
    return Redrawer(options.data_root, options.lists, folders)
