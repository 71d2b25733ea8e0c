"""Leaderboards as text, in every form that `report` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cdfss_bench.errors import UserError

from ..comparison.leaderboard import Leaderboard
from ..comparison.measures import in_metric, measures
from ..comparison.published import Report
from ..comparison.ranking import standings
from ..records.results import RunResult
from .boundary_table import boundary_tables
from .citations import bibtex
from .class_table import class_tables
from .columns import only_columns
from .concluded_table import with_conclusions
from .cost_table import cost_lines, cost_table
from .export import as_csv, as_json, class_lines, score_lines
from .latex import as_latex
from .leaderboard_table import text_table
from .paper_table import as_paper
from .published_table import published_table
from .screen_table import has_room
from .text_table import TextTable, as_markdown


@dataclass(frozen=True)
class Content:
    """What is shown of leaderboards, by default mIoU in every column.

    Attributes:
        metric: of the tables, one of `METRICS`.
        paper: whether LaTeX is one table as papers print it.
        every_note: whether each note of the records stands below, or two lines a row.
        width: characters of the screen that tables are for; intervals that it has no room for are
            not computed. None for tables of any width.
        published: what papers report, if it shall stand beside.
    """

    metric: str = "miou"
    cost: bool = False
    per_class: bool = False
    boundary: bool = False
    paper: bool = False
    conclusions: bool = False
    every_note: bool = False
    columns: tuple[str, ...] = ()
    published: Sequence[Report] | None = None
    width: int | None = None


def text_of(
    form: str, boards: Sequence[Leaderboard], known: dict[str, RunResult], content: Content
) -> str:
    """The boards of mIoU as `md`, `latex`, `bibtex`, `csv` or `json`.

    Raises:
        UserError: if the records hold nothing of what is asked for.
        RecordError: if a finished record has lost its rows.
    """
    if form in ("csv", "json"):
        return _exported(form, boards, known, content)
    if form == "bibtex":
        rows = (row for board in boards for part in board.sections() for row in part.rows)
        return bibtex(row.key.label for row in rows)
    if content.paper:
        return as_paper(boards, [standings(board, known) for board in boards], content.columns)
    tables = tables_of(boards, known, content)
    return as_latex(tables) if form == "latex" else as_markdown(tables)


def tables_of(
    boards: Sequence[Leaderboard], known: dict[str, RunResult], content: Content
) -> list[TextTable]:
    """The tables of all boards of mIoU, published figures behind those that they stand beside.

    Raises:
        UserError: if the records hold nothing of what is asked for.
        RecordError: if a finished record has lost its rows.
    """
    tables: list[TextTable] = []
    for board in boards:
        tables += _tables(board, known, content)
        if content.published is not None and board.key.suite == "cdfss":
            tables.append(published_table(board, content.published))
    if not tables:
        raise UserError(
            "no record here has boundary measures",
            hint="type the run again with --boundary: its counts stay, and they are added",
        )
    return only_columns(tables, content.columns) if content.columns else tables


def check_columns(boards: Sequence[Leaderboard], columns: Sequence[str]) -> None:
    """Refuses a column that none of the boards' tables has.

    Raises:
        UserError: if there is one.
    """
    only_columns([text_table(board, {}) for board in boards], columns)


def _tables(board: Leaderboard, known: dict[str, RunResult], content: Content) -> list[TextTable]:
    if content.cost:
        return [cost_table(board, every_note=content.every_note)]
    if content.per_class or content.boundary:
        measured = measures(board, known, intervals=False)
        tables = class_tables(board, measured) if content.per_class else []
        return tables + (boundary_tables(board, measured) if content.boundary else [])
    shown = in_metric(board, content.metric, known)
    draw = partial(text_table, shown, every_note=content.every_note)
    width = None if content.columns else content.width
    where = standings(shown, known, intervals=width is None)
    table = draw(where)
    if width is not None and has_room(table, width):
        where = standings(shown, known)
        table = draw(where)
    return with_conclusions(table, board, known, where) if content.conclusions else [table]


def _exported(
    form: str, boards: Sequence[Leaderboard], known: dict[str, RunResult], content: Content
) -> str:
    if content.cost:
        lines = [line for board in boards for line in cost_lines(board)]
    elif content.per_class:
        lines = class_lines(boards, [measures(b, known, intervals=False) for b in boards])
    else:
        # Keys of rows recur on other boards: each board is written with its own standings.
        where = [standings(board, known) for board in boards]
        lines = score_lines(boards, where, [measures(board, known) for board in boards])
    return (as_csv if form == "csv" else as_json)(lines, content.columns)
