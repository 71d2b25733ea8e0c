"""What a reduced precision changed: its cells beside those of fp32."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from .runner import Outcome


def differences(outcomes: Iterable[Outcome], results: Path) -> list[str]:
    """A line per finished cell of reduced precision, compared with the same cell in fp32."""
    lines: list[str] = []
    alone: list[str] = []
    for outcome in outcomes:
        cell, record = outcome.planned.cell, outcome.record
        if cell is None or record is None or record.metrics is None or cell.precision == "fp32":
            continue
        full = replace(cell, precision="fp32")
        known = full.finished_record(results)
        if known is None or known.metrics is None:
            alone.append(outcome.planned.title)
            continue
        found, exact = record.metrics.miou, known.metrics.miou
        lines.append(
            f"{outcome.planned.title}: {cell.precision} {found:.2f}, fp32 {exact:.2f} mIoU: "
            f"{found - exact:+.2f}"
        )
    if alone:
        which = "1 cell has" if len(alone) == 1 else f"{len(alone)} cells have"
        lines.append(
            f"{which} no fp32 record to be compared with: run the same without --precision"
        )
    return lines
