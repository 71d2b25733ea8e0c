"""What a command would do, and how long it would take by what was measured before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .folder import CellFolder
from .records import read_record, record_paths
from .runner import finished_record
from .selection import Planned
from .spent import Spent, added, batches


@dataclass(frozen=True, slots=True)
class Forecast:
    """One planned cell.

    Attributes:
        name: what it is.
        state: `complete`, `begun`, `to do`, or `refused: reason`.
        episodes: in its manifest.
        left: that are not known yet.
        seconds: expected for those; None without an earlier measurement.
        mend: what helps a refused cell.
    """

    name: str
    state: str
    episodes: int
    left: int
    seconds: float | None
    mend: str = ""

    @property
    def expected(self) -> str:
        """The expected time as text."""
        if self.left == 0:
            return ""
        return "unknown" if self.seconds is None else f"{self.seconds:.1f} s"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def forecast(planned: Planned, results: Path) -> Forecast:
    """What is known of a planned cell before it runs."""
    question = planned.question
    name = planned.title
    cell = planned.cell
    if cell is None:
        state = f"refused: {planned.reason}"
        return Forecast(name, state, 0, 0, 0.0, planned.mend or "")
    total = len(question.manifest)
    folder = cell.folder(results)
    if finished_record(folder, cell) is not None:
        return Forecast(name, "complete", total, 0, 0.0)
    known = len(folder.recover(question.manifest.episodes))
    each = _seconds_per_episode(planned, results)
    left = total - known
    return Forecast(
        name, "begun" if known else "to do", total, left, None if each is None else each * left
    )


def _seconds_per_episode(planned: Planned, results: Path) -> float | None:
    """From the timings of the same method on the same domain, else on any of the same size."""
    assert planned.cell is not None
    question, weights = planned.question, planned.cell.weights
    same: list[Spent] = []
    alike: list[Spent] = []
    for path in record_paths(results):
        record = read_record(path)
        if (record.method.composition, record.method.backbone, record.episodes.shots) != (
            str(planned.composition),
            weights.backbone,
            question.shots,
        ):
            continue
        spent = list(batches(CellFolder(path.parent).timings))
        if record.domain.title == question.domain.title:
            same += spent
        elif record.evaluator.image_size == question.domain.card.image_size:
            alike += spent
    measured = added(same or alike)
    return measured.total / measured.episodes if measured.episodes else None
