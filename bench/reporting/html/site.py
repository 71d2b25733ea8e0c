"""A static leaderboard site from committed records."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from cdfss_bench.files import write_atomically

from ...comparison.current import by_cell
from ...comparison.leaderboard import Leaderboard
from ...comparison.measures import measures
from ...comparison.ranking import standings
from ...records.results import RunResult
from ...records.schema import published_schema
from ..export import as_csv, as_json, score_lines


def write_site(
    folder: Path,
    pages: Mapping[str, str],
    found: Sequence[RunResult],
    boards: Sequence[Leaderboard],
) -> list[Path]:
    """The pages of `as_pages`, the same as CSV and JSON, and the records' schema.

    Raises:
        UserError: if the folder cannot be written.
    """
    known = by_cell(found)
    where = [standings(board, known) for board in boards]
    schema = json.dumps(published_schema(), indent=1) + "\n"
    lines = score_lines(boards, where, [measures(board, known) for board in boards])
    files = {
        **pages,
        "leaderboard.csv": as_csv(lines),
        "leaderboard.json": as_json(lines),
        "run.schema.json": schema,
    }
    for name, text in files.items():
        write_atomically(folder / name, text)
    return [folder / name for name in files]
