"""What people see: the command line in this process, and the tables of a results folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.comparison.compare import Comparison, chosen, compare
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.leaderboard import Leaderboard
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import RunResult, run_results
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.text_table import TextTable
from cdfss_bench.errors import UserError


def typed(*words: object) -> Result:
    """A command in this process."""
    return CliRunner().invoke(app, list(map(str, words)))


def printed(*words: object) -> str:
    """Standard output of a command that must succeed."""
    done = typed(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def report(results: Path, *words: object) -> str:
    """What `report` prints of a results folder."""
    return printed("report", "--results", results, *words)


def mistake(*words: object) -> UserError:
    """Why a command is refused, which then prints nothing."""
    done = typed(*words)
    assert isinstance(done.exception, UserError)
    assert done.stdout == ""
    return done.exception


def board_of(found: Path | Sequence[RunResult]) -> Leaderboard:
    """The only leaderboard of a results folder, or of what it holds."""
    answers = run_results(found) if isinstance(found, Path) else found
    (board,) = leaderboards(answer.record for answer in answers)
    return board


def table_of(results: Path, *, tested: bool = True) -> TextTable:
    """Its table, with ranks and tests if `tested`."""
    found = run_results(results)
    board = board_of(found)
    return text_table(board, standings(board, found) if tested else None)


def column(table: TextTable, header: str) -> dict[str, str]:
    """Cells of a column by the first cell of their row."""
    at = list(table.headers).index(header)
    return {cells[0]: cells[at] for cells in table.rows}


def compared(results: Path, a: str, b: str, **options: Any) -> Comparison:
    """The only comparison of two methods, with few resamples."""
    found = run_results(results)
    sides = [chosen(found, name, results) for name in (a, b)]
    (comparison,) = compare(*sides, **{"resamples": 400, **options})
    return comparison
