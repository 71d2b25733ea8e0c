"""The table of where the time of finished cells went."""

from collections.abc import Iterable
from pathlib import Path

from ..records.place import folder_of
from ..records.schema import RunRecord
from ..records.timings import STAGES, added, batches
from .text_table import BLANK, STACKED, TextTable


def timing_table(records: Iterable[RunRecord], results: Path) -> TextTable:
    """A line per finished cell: seconds by stage, the earlier parts of a resumed run included."""
    rows: list[list[str]] = []
    for record in records:
        folder = folder_of(record, results)
        spent = added(batches(folder.timings))
        if not spent.episodes:
            continue
        where = f"{record.domain.title} {record.episodes.shots}-shot seed {record.episodes.seed}"
        shares = [
            f"{spent.seconds[stage]:.2f} ({spent.seconds[stage] / spent.total:.0%})"
            if spent.seconds[stage]
            else BLANK
            for stage in STAGES
        ]
        each = f"{1000 * spent.total / spent.episodes:.1f}"
        counts = [str(spent.episodes), str(spent.encoded)]
        rows.append([record.name, where, *counts, *shares, f"{spent.total:.2f}", each])
    return TextTable(
        title="where the time went (s)",
        headers=["method", "cell", "episodes", "encoded", *STAGES, "total", "ms an episode"],
        rows=rows,
        numeric=frozenset(range(2, 10)),
        secondary=["encoded", "episodes", STACKED],
        whole="COLUMNS=160",
        notes=["load: waiting for pictures; match: condensing supports, matching, deciding"],
    )
