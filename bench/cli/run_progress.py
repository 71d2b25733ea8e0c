"""How far a run is: a line before it, a bar on a terminal, a line every 30 seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cdfss_bench.words import plural

from .console import talk
from .progress import PERIOD, bar, duration

if TYPE_CHECKING:
    from ..evaluation.runner import Listener, Outcome, Progress
    from ..planning.dry_run import Forecast
    from ..planning.planned_cells import Planned


def extent(forecasts: Sequence[Forecast], jobs: int = 1) -> str:
    """One line that says what a run will do: cells, episodes, and the expected time.

    The time is that of a single process; with several `jobs` the line says so.
    """
    cells = len(forecasts)
    states = [forecast.state.partition(":")[0] for forecast in forecasts]
    told = [f"{states.count(s)} {s}" for s in ("complete", "begun", "refused") if s in states]
    line = f"{cells:,} {plural(cells, 'cell')}"
    line += f" ({', '.join(told)})" if told else ""
    left = sum(forecast.left for forecast in forecasts)
    known = sum(forecast.episodes for forecast in forecasts) - left
    line += f", {left:,} {plural(left, 'episode')} to compute" + (
        f" and {known:,} known" if known else ""
    )
    seconds = [forecast.seconds for forecast in forecasts if forecast.seconds != 0]
    if not seconds:
        return line
    measured = [each for each in seconds if each is not None]
    unknown = len(seconds) - len(measured)
    if not measured:
        return f"{line}; expected time unknown, since nothing alike was timed here"
    line += f"; expected time {duration(sum(measured))}"
    line += " in one process" if jobs > 1 else ""
    return f"{line}, unknown for {unknown} of {cells} cells" if unknown else line


class Meter:
    """Counts the episodes of a run; its rate is of those alone that it computes itself."""

    def __init__(
        self,
        cells: Sequence[tuple[Planned, Forecast]],
        clock: Callable[[], float],
    ):
        self._clock = clock
        self._began: float | None = None
        self._cells = len(cells)
        self._open = {id(planned): forecast.left for planned, forecast in cells}
        self._first: dict[int, int] = {}
        self._computed: dict[int, int] = {}
        self.total = sum(forecast.episodes for _, forecast in cells)

    def listen(self, progress: Progress) -> None:
        """Takes note of a cell at work; what is told of it first was known before."""
        cell = id(progress.planned)
        self._began = self._clock() if self._began is None else self._began
        first = self._first.setdefault(cell, progress.done)
        self._computed[cell] = max(0, progress.done - first)

    def finished(self, outcome: Outcome) -> None:
        """Takes note of a cell that is over; episodes that it does not answer are no work left."""
        cell = id(outcome.planned)
        left = self._open.pop(cell, 0)
        if outcome.how in ("refused", "failed", "busy"):
            self.total -= max(0, left - self._computed.get(cell, 0))

    @property
    def left(self) -> int:
        """Episodes that are still to be computed."""
        computed = self._computed
        return sum(max(0, left - computed.get(cell, 0)) for cell, left in self._open.items())

    @property
    def done(self) -> int:
        """Episodes that are known, from earlier runs too."""
        return self.total - self.left

    @property
    def rate(self) -> float | None:
        """Episodes that this run computes in a second; None before the first."""
        computed = sum(self._computed.values())
        spent = self._clock() - self._began if self._began is not None else 0.0
        return computed / spent if computed and spent > 0 else None

    @property
    def time_left(self) -> str:
        """The time left as text; empty before the first episode."""
        return f"{duration(self.left / self.rate)} left" if self.rate else ""

    def line(self) -> str:
        """Where the run stands."""
        over = self._cells - len(self._open)
        line = f"{over:,} of {self._cells:,} cells, {self.done:,} of {self.total:,} episodes"
        return f"{line}, {self.rate:.3g} episodes/s, {self.time_left}" if self.rate else line


@contextmanager
def run_progress(
    cells: Sequence[tuple[Planned, Forecast]], line_of: Callable[[Outcome], str]
) -> Generator[tuple[Listener, Callable[[Outcome], None]]]:
    """A bar with the time left on a terminal, a line every 30 seconds elsewhere.

    Yields what hears of progress, and what hears of outcomes, whose lines `line_of` gives.
    """
    meter = Meter(cells, time.monotonic)
    if not sys.stderr.isatty():
        yield _lines(meter, line_of)
        return
    with bar(own_time=True) as shown:
        over = shown.add_task("cells", total=len(cells), left="")
        episodes = shown.add_task("episodes", total=meter.total, completed=meter.done, left="")
        at_work: dict[str, None] = {}

        def show() -> None:
            # A name holds options in brackets, which are no markup.
            names = [name.replace("[", r"\[") for name in at_work]
            name = f": {names[0]}" if len(names) == 1 else ""
            shown.update(over, description=f"cells{name}")
            shown.update(episodes, completed=meter.done, total=meter.total, left=meter.time_left)

        def listen(progress: Progress) -> None:
            meter.listen(progress)
            at_work[progress.planned.title] = None
            if progress.done == progress.total:
                del at_work[progress.planned.title]
            show()

        def finished(outcome: Outcome) -> None:
            meter.finished(outcome)
            at_work.pop(outcome.planned.title, None)
            shown.advance(over)
            shown.console.print(line_of(outcome), highlight=False, markup=False)
            show()

        yield listen, finished


def _lines(
    meter: Meter, line_of: Callable[[Outcome], str]
) -> tuple[Listener, Callable[[Outcome], None]]:
    due = time.monotonic() + PERIOD

    def listen(progress: Progress) -> None:
        nonlocal due
        meter.listen(progress)
        if time.monotonic() >= due:
            due = time.monotonic() + PERIOD
            talk(f"{meter.line()} ({progress.planned.title})")

    def finished(outcome: Outcome) -> None:
        meter.finished(outcome)
        talk(line_of(outcome))

    return listen, finished
