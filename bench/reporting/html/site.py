"""A static leaderboard site from committed records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cdfss_bench.files import write_atomically

from ...comparison.current import by_cell
from ...comparison.gathering import leaderboards
from ...comparison.leaderboard import BY_MEAN, Arrangement
from ...comparison.measures import measures
from ...comparison.published import Report
from ...comparison.ranking import standings
from ...records.results import RunResult
from ...records.schema import published_schema
from ..export import as_csv, as_json
from .document import as_pages
from .panels import Source


def write_site(
    folder: Path,
    found: Sequence[RunResult],
    published: Sequence[Report] | None = None,
    source: Source | None = None,
    *,
    every_note: bool = False,
    arrangement: Arrangement = BY_MEAN,
    gallery: str = "",
) -> list[Path]:
    """`index.html` (and `index-2.html`, ...), the same as CSV and JSON, and the records' schema.

    Args:
        folder: that is written.
        found: records with their rows.
        published: what papers report, if it shall stand beside.
        source: draws single episodes, if they shall be shown.
        every_note: whether each note of the records stands below its table.
        arrangement: of rows and, on the page, of columns.
        gallery: address of the gallery of all episodes, relative to the folder.

    Raises:
        UserError: if the folder cannot be written.
    """
    boards = leaderboards((answer.record for answer in found), arrangement)
    known = by_cell(found)
    where = [standings(board, known) for board in boards]
    measured = [measures(board, known) for board in boards]
    schema = json.dumps(published_schema(), indent=1) + "\n"
    files = {
        **as_pages(
            found,
            published,
            source,
            every_note=every_note,
            arrangement=arrangement,
            gallery=gallery,
        ),
        "leaderboard.csv": as_csv(boards, where, measured),
        "leaderboard.json": as_json(boards, where, measured),
        "run.schema.json": schema,
    }
    for name, text in files.items():
        write_atomically(folder / name, text)
    return [folder / name for name in files]
