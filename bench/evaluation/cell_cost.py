"""What cells cost: measured once for all cells of one network, and noted where that failed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cdfss_bench.methods.core.method import Method

from ..cost.profile import cost_of
from ..planning.cell import Cell
from ..records.schema import CostPart, RunRecord

_NO_COST = "cost not measured: "


class CellCosts:
    """Costs that were measured so far.

    Args:
        results: the results folder.
        device: to measure on.
        again: whether costs that are recorded are measured anew.
    """

    def __init__(self, results: Path, device: str, *, again: bool = False):
        self.results = results
        self.device = device
        self.again = again
        self._known: dict[object, CostPart | str] = {}

    def add(self, cell: Cell, record: RunRecord, network_of: Callable[[Cell], Method]) -> str:
        """Put what a finished cell costs into its record; a sentence where that failed."""
        key = cell.cost_key
        if key not in self._known and (known := self._cost_of_host(cell)) is not None:
            self._known[key] = known
        if key not in self._known:
            try:
                self._known[key] = cost_of(
                    network_of(cell),
                    shots=cell.episode_set.shots,
                    size=cell.episode_set.domain.card.image_size,
                    device=self.device,
                )
            except Exception as error:
                self._known[key] = f"{type(error).__name__}: {error}"
        found = self._known[key]
        if isinstance(found, str):
            return note_no_cost(record, found)
        record.cost, record.notes = found, _without_cost_notes(record)
        return ""

    def _cost_of_host(self, cell: Cell) -> CostPart | None:
        """What the recorded host of a shuffled-support control costs: the same network."""
        if not cell.composition.control or self.again:
            return None
        host = replace(
            cell,
            composition=replace(
                cell.composition, control="", label=cell.composition.label.partition("@")[0]
            ),
            episode_set=replace(cell.episode_set, control=""),
        )
        record = host.finished_record(self.results)
        return None if record is None else record.cost


def note_no_cost(record: RunRecord, reason: str) -> str:
    """Note in a finished record why it has no cost; the note. One that it has is kept."""
    first = (reason.strip().splitlines() or ["no reason was given"])[0]
    if record.cost is not None:
        return f"cost not measured again, the earlier one is kept: {first}"
    note = _NO_COST + first
    record.notes = sorted([*_without_cost_notes(record), note])
    return note


def _without_cost_notes(record: RunRecord) -> list[str]:
    return [note for note in record.notes if not note.startswith(_NO_COST)]
