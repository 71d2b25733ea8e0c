"""A static leaderboard site from committed records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cdfss_bench.files import write_atomically

from ...comparison.leaderboard import leaderboards
from ...comparison.measures import measures
from ...comparison.published import Report
from ...comparison.ranking import standings
from ...records.results import RunResult
from ...records.schema import published_schema
from ..export import as_csv, as_json
from .document import as_html
from .panels import Source


def write_site(
    folder: Path,
    found: Sequence[RunResult],
    published: Sequence[Report] | None = None,
    source: Source | None = None,
    *,
    every_note: bool = False,
) -> list[Path]:
    """`index.html`, the same as CSV and JSON, and the JSON Schema of the records.

    Raises:
        UserError: if the folder cannot be written.
    """
    boards = leaderboards(answer.record for answer in found)
    where = [standings(board, found) for board in boards]
    measured = [measures(board, found) for board in boards]
    schema = json.dumps(published_schema(), indent=1) + "\n"
    files = {
        "index.html": as_html(found, published, source, every_note=every_note),
        "leaderboard.csv": as_csv(boards, where, measured),
        "leaderboard.json": as_json(boards, where, measured),
        "run.schema.json": schema,
    }
    for name, text in files.items():
        write_atomically(folder / name, text)
    return [folder / name for name in files]
