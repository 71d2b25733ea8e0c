"""`cdfss-bench report`: leaderboards from the records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Results
from .talk import say, show, talk

FORMATS = ("table", "md", "csv", "json")


def report(
    results: Results = Path("results"),
    form: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file instead.")
    ] = None,
) -> None:
    """Show the leaderboards of all records: methods by domains, with cost."""
    from cdfss_bench.errors import UserError, unknown
    from cdfss_bench.files import write_atomically

    from ..leaderboard import leaderboards
    from ..records import read_runs
    from ..tables import as_csv, as_json, as_markdown, as_rich, text_table

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    boards = leaderboards(record for _, record in read_runs(results))
    if not boards:
        raise UserError(
            f"there are no records under {results / 'runs'}", mend="cdfss-bench run -m loec -k 5"
        )
    if form == "table" and output is None:
        show(*(as_rich(text_table(board)) for board in boards))
        return
    texts = {
        "csv": lambda: as_csv(boards),
        "json": lambda: as_json(boards),
    }
    text = texts.get(form, lambda: as_markdown([text_table(board) for board in boards]))()
    if output is None:
        say(text)
    else:
        write_atomically(output, text)
        talk(f"wrote {output}")
