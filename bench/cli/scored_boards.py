"""The leaderboards of records that were just written: what `run`, `score` and `train` end with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .console import say, show

if TYPE_CHECKING:
    from ..records.schema import RunRecord


def show_records(
    records: Sequence[RunRecord],
    results: Path,
    *,
    boundaries: bool = False,
    wide: bool = False,
    as_json: bool = False,
) -> None:
    """Print the leaderboards of some records, and the boundary measures if they were asked for."""
    from ..comparison.gathering import leaderboards
    from ..comparison.measures import measures
    from ..records.results import RunResult
    from ..reporting.boundary_table import boundary_tables
    from ..reporting.export import as_json as to_json
    from ..reporting.export import score_lines
    from ..reporting.leaderboard_table import text_table

    boards = leaderboards(records)
    done = [RunResult.of(record, results) for record in records if record.status == "done"]
    if as_json:
        measured = [measures(board, done) for board in boards]
        say(to_json(score_lines(boards, measured=measured)))
        return
    show(*map(text_table, boards), wide=wide)
    for board in leaderboards(one.record for one in done) if boundaries else ():
        show(*boundary_tables(board, measures(board, done, intervals=False)), wide=wide)
