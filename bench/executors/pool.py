"""Hands cells to workers, tries again when one dies, ends one that hangs, collects the outcomes."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Protocol

from ..evaluation.runner import Outcome, Progress, Runner
from ..planning.planned_cells import Planned
from ..planning.selection import Selection
from .work import Task, TaskResult

ATTEMPTS = 3
"""Workers that may die of one cell before it counts as failed."""

TICK = 0.25
"""Seconds between two looks at a worker."""

_BUSY_SECONDS = 5.0
"""Pause before a cell is tried again that another process holds."""

_PATIENCE = 10.0
"""Seconds that workers have to mark their record as interrupted."""

News = TaskResult | tuple[int, int] | None
"""The result, or finished episodes and their total, or nothing new."""


class WorkerDied(Exception):
    """A worker is gone, its task unfinished; the text completes "the process that computed it"."""


class Slot(Protocol):
    """Room for one worker, which is replaced when it is gone."""

    def is_ready(self) -> bool:
        """Whether a worker can take a task, started if there is none; UserError if none can be."""
        ...

    def perform(self, task: Task) -> Iterator[News]:
        """What the worker tells, at least every second; UserError if it cannot work at all."""
        ...

    def interrupt(self) -> None:
        """Asks the worker to mark its record as interrupted, and to end."""
        ...

    def kill(self) -> None:
        """Ends the worker at once; it is gone, with its locks, when this returns."""
        ...


@dataclass(slots=True, eq=False)
class _Case:
    planned: Planned
    task: Task
    deaths: int = 0
    not_before: float = 0.0


@dataclass
class Pool:
    """Runs cells on workers, each served by a thread of its own.

    Args:
        slots: for the workers.
        runner: of this process; writes the records of cells that no worker could finish.
        threads: of each worker.
        all_threads: of the one that measures cost, when the others rest.
        timeout: seconds that an episode may take.
        close: called at the end.
    """

    slots: Sequence[Slot]
    runner: Runner
    threads: int
    all_threads: int
    timeout: float | None = None
    close: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Nothing is at work yet."""
        self._changed = threading.Condition()
        self._waiting: list[_Case] = []
        self._left = 0
        self._is_stopped = False
        self._last: dict[Slot, Selection] = {}
        self._events: queue.SimpleQueue[Progress | Outcome] = queue.SimpleQueue()
        self._serving: list[Future[None]] = []

    def run(self, cells: Iterable[Planned]) -> Iterator[Outcome]:
        """The outcome of each cell, as they come.

        Cost is measured last, by one worker while the others rest: latencies of processes that
        disturb each other mean nothing. It is added to the records that were yielded before.

        Raises:
            UserError: if no worker can be had, or the results cannot be written.
            KeyboardInterrupt: after the workers were stopped.
        """
        finished: list[Outcome] = []
        with ThreadPoolExecutor(len(self.slots), initializer=_ignore_interrupts) as pool:
            try:
                for outcome in self._computed(cells, pool):
                    finished.append(outcome)
                    yield outcome
                if self.runner.with_cost:
                    lacking = [o for o in finished if self._lacks_cost(o)]
                    yield from self._measured(lacking, pool)
            finally:
                self._stop()

    def _computed(self, cells: Iterable[Planned], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        cases: list[_Case] = []
        for planned in cells:
            known = self.runner.without_computing(planned)
            if known is not None:
                yield known
            else:
                cases.append(_Case(planned, self._task(planned)))
        yield from self._served(cases, self.slots, pool)

    def _measured(self, lacking: Sequence[Outcome], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        changes = {"with_cost": True, "threads": self.all_threads, "limit": None}
        cases = [_Case(o.planned, replace(self._task(o.planned), **changes)) for o in lacking]
        for outcome in self._served(cases, self.slots[:1], pool):
            (earlier,) = (o.record for o in lacking if o.planned is outcome.planned)
            assert earlier is not None
            if outcome.record is not None:
                earlier.cost, earlier.notes = outcome.record.cost, outcome.record.notes
            if outcome.detail:
                # What comes of the cost takes nothing from the cell, which was yielded before.
                yield Outcome(outcome.planned, "known", None, outcome.detail)

    def _task(self, planned: Planned) -> Task:
        assert planned.cell is not None
        assert planned.asked is not None
        limit = None
        if self.timeout is not None:
            size = planned.cell.episode_set.domain.card.image_size
            limit = self.timeout * self.runner.settings.episodes_per_batch(size)
        return Task(planned.asked, planned.cell.id, self.threads, limit)

    def _lacks_cost(self, outcome: Outcome) -> bool:
        record = outcome.record
        return record is not None and record.status == "done" and self.runner.lacks_cost(record)

    def _served(
        self, cases: Sequence[_Case], slots: Sequence[Slot], pool: ThreadPoolExecutor
    ) -> Iterator[Outcome]:
        self._waiting, self._left = list(cases), len(cases)
        self._serving = [pool.submit(self._serve, slot) for slot in slots[: len(cases)]]
        unseen = len(cases)
        while unseen:
            for thread in self._serving:
                if thread.done():
                    thread.result()
            try:
                event = self._events.get(timeout=TICK)
            except queue.Empty:
                continue
            if isinstance(event, Outcome):
                unseen -= 1
                yield event
            elif self.runner.listener is not None:
                self.runner.listener(event)
        wait(self._serving)

    def _serve(self, slot: Slot) -> None:
        """Run in the slot's thread, while there are cells that are not finished."""
        while (case := self._take(slot)) is not None:
            try:
                outcome = self._attempt(slot, case)
            except WorkerDied as death:
                if self._is_stopped:
                    return
                case.deaths += 1
                outcome = None
                if case.deaths >= ATTEMPTS:
                    reason = f"the process that computed it {death}, {case.deaths} times in a row"
                    outcome = self.runner.failed(case.planned, reason)
            with self._changed:
                if outcome is None:
                    self._waiting.insert(0, case)
                else:
                    self._left -= 1
                    self._events.put(outcome)
                self._changed.notify_all()

    def _take(self, slot: Slot) -> _Case | None:
        """The next case for a worker; None where all are finished."""
        with self._changed:
            while self._left and not self._is_stopped:
                now = time.monotonic()
                due = [case for case in self._waiting if case.not_before <= now]
                if due and slot.is_ready():
                    case = min(due, key=lambda case: self._order(case, slot))
                    self._waiting.remove(case)
                    self._last[slot] = case.task.selection
                    return case
                self._changed.wait(TICK)
        return None

    def _order(self, case: _Case, slot: Slot) -> tuple[float, bool, bool]:
        """Smaller is sooner: what shares its network with the worker's last, then with nobody's.

        Whatever is left comes then: a worker without work is worse than a network built twice.
        """
        asked = case.task.selection
        return case.not_before, asked != self._last.get(slot), asked in self._last.values()

    def _attempt(self, slot: Slot, case: _Case) -> Outcome | None:
        """What became of a case; None where it must be tried again."""
        planned, limit = case.planned, case.task.limit
        since: float | None = None
        for news in slot.perform(case.task):
            if isinstance(news, TaskResult):
                if news.how == "busy" and not case.not_before:
                    case.not_before = time.monotonic() + _BUSY_SECONDS
                    return None
                planned.hint = news.hint if news.hint is not None else planned.hint
                return Outcome(planned, news.how, news.record, news.detail)
            if news is not None:
                done, total = news
                since = time.monotonic() if done < total else None
                self._events.put(Progress(planned, done, total))
            elif limit is not None and since is not None and time.monotonic() - since > limit:
                slot.kill()
                return self.runner.failed(
                    planned,
                    f"an episode took longer than {self.timeout:g} s (--timeout); finished "
                    "episodes are kept",
                )
        raise AssertionError("a worker ended without a result")

    def _stop(self) -> None:
        """Ends all workers; tasks at work are marked as interrupted where there is time."""
        try:
            with self._changed:
                self._is_stopped = True
                self._changed.notify_all()
            for slot in self.slots:
                slot.interrupt()
            wait(self._serving, timeout=_PATIENCE)
        finally:
            # A second Ctrl-C ends the patience.
            self._is_stopped = True
            for slot in self.slots:
                slot.kill()
            if self.close is not None:
                self.close()


def _ignore_interrupts() -> None:
    """What a thread starts ignores Ctrl-C from its first instant on: this process handles it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
