"""What `run --dry-run` prints: the cells, what is missing, and the expected time."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cdfss_bench.words import plural

from .cautions import warn_of_cells
from .console import say, show, talk

if TYPE_CHECKING:
    from ..planning.dry_run import Forecast
    from ..planning.planned_cells import Planned
    from ..planning.selection import Selection
    from ..reporting.text_table import TextTable

_MOST = 30
"""Cells that are shown one by one; more are summed up by method."""


def show_plan(
    selection: Selection,
    results: Path,
    device: str,
    *,
    with_cost: bool,
    cost_again: bool,
    boundary: float | None,
    began: float,
    wide: bool = False,
    as_json: bool = False,
) -> None:
    """Print what the selection would compute on `device`.

    `boundary` is the tolerance of the boundary measures that would be added, None without them;
    `began` is when the command began, by `time.perf_counter`.
    """
    from ..planning.dry_run import forecast
    from ..planning.planned_cells import plan as cells_of

    cells = list(cells_of(selection))
    warn_of_cells(cells)
    lines = forecast(
        cells,
        results,
        device=device,
        with_cost=with_cost,
        cost_again=cost_again,
        boundary=boundary,
    )
    if as_json:
        say(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        few = wide or len(lines) <= _MOST
        show(_each(cells, lines) if few else _by_method(cells, lines), wide=wide)
        for hint in dict.fromkeys(line.hint for line in lines if line.hint):
            talk(f"  hint: {hint}")
    # Starting and planning are what this command has just done.
    start = time.perf_counter() - began
    total = start + sum(line.seconds for line in lines if line.seconds is not None)
    unknown = sum(line.seconds is None for line in lines)
    talk(
        f"expected time: {total:.0f} s, {start:.0f} s of them to start"
        + (f"; unknown for {_cells(unknown)}" if unknown else "")
    )


def _each(cells: Sequence[Planned], lines: Sequence[Forecast]) -> TextTable:
    from ..reporting.text_table import TextTable

    rows: list[list[str]] = []
    for planned, line in zip(cells, lines, strict=True):
        asked = planned.episode_set
        what = [planned.name, asked.domain.title, str(asked.shots), str(asked.seed)]
        rows.append([*what, line.state, str(line.episodes or ""), line.expected])
    headers = ["method", "domain", "shots", "seed", "state", "episodes", "expected"]
    return TextTable(_cells(len(lines)), headers, rows, numeric=frozenset({2, 3, 5, 6}))


def _by_method(cells: Sequence[Planned], lines: Sequence[Forecast]) -> TextTable:
    """A row for each method, and why cells are refused below."""
    from ..reporting.text_table import TextTable

    of: dict[str, list[tuple[Planned, Forecast]]] = {}
    for planned, line in zip(cells, lines, strict=True):
        of.setdefault(planned.name, []).append((planned, line))
    rows: list[list[str]] = []
    for name, found in of.items():
        states = Counter(line.state.partition(":")[0] for _, line in found)
        known = [line.seconds for _, line in found]
        seconds = sum(each for each in known if each is not None)
        asked = [planned.episode_set for planned, _ in found]
        rows.append(
            [
                name,
                str(len({each.domain.title for each in asked})),
                _listed(each.shots for each in asked),
                _listed(each.seed for each in asked),
                *(str(states[state] or "") for state in _STATES),
                f"{sum(line.left for _, line in found):,}",
                "unknown" if None in known else f"{seconds:.0f} s",
            ]
        )
    reasons = Counter(line.state for line in lines if line.state.startswith("refused"))
    return TextTable(
        _cells(len(lines)),
        ["method", "domains", "shots", "seeds", *_STATES, "episodes left", "expected"],
        rows,
        numeric=frozenset(range(1, 10)) - {2, 3},
        notes=[
            *(f"{reason} ({_cells(count)})" for reason, count in reasons.items()),
            "a row for each cell: --wide or --json",
        ],
        secondary=["domains", "seeds", "shots"],
    )


_STATES = ("to do", "begun", "complete", "refused")


def _cells(number: int) -> str:
    return f"{number} {plural(number, 'cell')}"


def _listed(numbers: Iterable[int]) -> str:
    """`0, 2` or, without gaps, `0..4`."""
    found = sorted(set(numbers))
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]}..{found[-1]}"
    return ", ".join(map(str, found))
