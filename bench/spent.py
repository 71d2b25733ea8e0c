"""Where the time of a cell went, as `timings.jsonl` tells it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .folder import CellFolder
from .records import RunRecord
from .texttable import BLANK, TextTable

STAGES = ("load", "encode", "adapt", "match")
"""Waiting for pictures; the backbone; learning from supports; condensing, matching, deciding."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One batch of episodes, or a sum of batches.

    Attributes:
        episodes: how many.
        encoded: images that went through the backbone for them.
        seconds: by stage.
    """

    episodes: int
    encoded: int
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def batches(path: Path) -> Iterator[Spent]:
    """The readable lines of a `timings.jsonl`."""
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            values = json.loads(line)
            seconds = {stage: float(values[f"{stage}_ms"]) / 1000 for stage in STAGES}
            yield Spent(len(values["episodes"]), int(values["encoded"]), seconds)
        except (ValueError, KeyError, TypeError):
            continue


def added(parts: Iterable[Spent]) -> Spent:
    """All batches in one."""
    known = list(parts)
    seconds = {stage: sum(part.seconds[stage] for part in known) for stage in STAGES}
    return Spent(sum(p.episodes for p in known), sum(p.encoded for p in known), seconds)


def profile(records: Iterable[RunRecord], results: Path) -> TextTable:
    """A line per finished cell: seconds by stage, the earlier parts of a resumed run included."""
    rows: list[list[str]] = []
    for record in records:
        folder = CellFolder.of(
            results,
            domain=record.domain.title,
            shots=record.episodes.shots,
            label=record.method.label,
            cell=record.cell,
        )
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
        rows.append([record.method.label, where, *counts, *shares, f"{spent.total:.2f}", each])
    return TextTable(
        title="where the time went (s)",
        headers=["method", "cell", "episodes", "encoded", *STAGES, "total", "ms an episode"],
        rows=rows,
        numeric=frozenset(range(2, 10)),
        notes=["load: waiting for pictures; match: condensing supports, matching, deciding"],
    )
