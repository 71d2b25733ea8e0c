"""Hands cells to workers, tries again when one dies, ends one that hangs, collects the outcomes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..evaluation.runner import Listener, Outcome, Progress, Runner
from ..planning.selection import Planned
from .board import Board
from .crew import Answered, Crew, Died, Stepped
from .work import Task, TaskResult

ATTEMPTS = 3
"""Workers that may die of one cell before it counts as failed."""

_TICK = 0.25
_BUSY_SECONDS = 5.0
"""Pause before a cell is tried again that another process holds."""


@dataclass(slots=True)
class _Case:
    planned: Planned
    task: Task
    deaths: int = 0
    was_busy: bool = False


@dataclass(slots=True)
class _Watch:
    task: Task
    since: float | None = None


class Dispatcher:
    """Runs cells on a crew.

    Args:
        crew: who computes.
        runner: of this process; writes the records of cells that no worker could finish.
        threads: of each worker.
        all_threads: of the one that measures cost, when the others rest.
        timeout: seconds that an episode may take.
        listener: told of progress.
    """

    def __init__(
        self,
        crew: Crew,
        runner: Runner,
        *,
        threads: int,
        all_threads: int,
        timeout: float | None = None,
        listener: Listener | None = None,
    ):
        self.crew = crew
        self.runner = runner
        self.threads = threads
        self.all_threads = all_threads
        self.timeout = timeout
        self.listener = listener

    def run(self, cells: Iterable[Planned]) -> Iterator[Outcome]:
        """The outcome of each cell, as they come.

        Cost is measured last, by one worker while the others rest: latencies of processes that
        disturb each other mean nothing. It is added to the records that were yielded before.

        Raises:
            UserError: if no worker can be had, or the results cannot be written.
            KeyboardInterrupt: after the workers were stopped.
        """
        try:
            finished: list[Outcome] = []
            for outcome in self._computed(cells):
                finished.append(outcome)
                yield outcome
            if self.runner.with_cost:
                yield from self._measured(finished)
        finally:
            self.crew.stop()

    def _computed(self, cells: Iterable[Planned]) -> Iterator[Outcome]:
        cases: list[_Case] = []
        for planned in cells:
            known = self.runner.without_computing(planned)
            if known is not None:
                yield known
                continue
            task = self._task(len(cases), planned)
            cases.append(_Case(planned, task))
        yield from self._dispatched(cases, self.crew.size)

    def _measured(self, finished: Iterable[Outcome]) -> Iterator[Outcome]:
        lacking = [o for o in finished if _lacks_cost(o)]
        cases = [
            _Case(o.planned, self._costing(self._task(number, o.planned)))
            for number, o in enumerate(lacking)
        ]
        for outcome in self._dispatched(cases, 1):
            (earlier,) = (o.record for o in lacking if o.planned is outcome.planned)
            assert earlier is not None
            if outcome.record is not None:
                earlier.cost, earlier.notes = outcome.record.cost, outcome.record.notes
            if outcome.detail:
                # What comes of the cost takes nothing from the cell, which was yielded before.
                yield Outcome(outcome.planned, "known", None, outcome.detail)

    def _task(self, number: int, planned: Planned) -> Task:
        assert planned.cell is not None
        assert planned.asked is not None
        limit = None
        if self.timeout is not None:
            size = planned.cell.episode_set.domain.card.image_size
            limit = self.timeout * self.runner.settings.episodes_per_batch(size)
        return Task(number, planned.asked, planned.cell.id, False, self.threads, limit)  # noqa: FBT003

    def _costing(self, task: Task) -> Task:
        return replace(task, with_cost=True, threads=self.all_threads, limit=None)

    def _dispatched(self, cases: list[_Case], at_once: int) -> Iterator[Outcome]:
        board, watched = Board([case.task for case in cases]), dict[int, _Watch]()
        busy: list[Task] = []
        retry_at = 0.0
        while board or watched or busy:
            if busy and not board and time.monotonic() >= retry_at:
                board.put_back(busy.pop(0), last=True)
            for worker in self.crew.free():
                task = board.take(worker) if len(watched) < at_once else None
                if task is None:
                    break
                watched[worker] = _Watch(task)
                self.crew.give(worker, task)
            for event in self.crew.events(_TICK):
                watch = watched.get(event.worker)
                if watch is None:
                    board.forget(event.worker)
                    continue
                case = cases[watch.task.number]
                match event:
                    case Stepped():
                        watch.since = time.monotonic() if event.done < event.total else None
                        if self.listener is not None:
                            self.listener(Progress(case.planned, event.done, event.total))
                    case Answered():
                        del watched[event.worker]
                        if event.answer.how == "busy" and not case.was_busy:
                            case.was_busy, retry_at = True, time.monotonic() + _BUSY_SECONDS
                            busy.append(case.task)
                        else:
                            yield _outcome(case.planned, event.answer)
                    case Died():
                        del watched[event.worker]
                        board.forget(event.worker)
                        case.deaths += 1
                        if case.deaths < ATTEMPTS:
                            board.put_back(case.task)
                        else:
                            reason = f"the process that computed it {event.reason}"
                            times = f", {case.deaths} times in a row"
                            yield self.runner.failed(case.planned, reason + times)
            yield from self._overdue(cases, watched, board)

    def _overdue(
        self, cases: list[_Case], watched: dict[int, _Watch], board: Board
    ) -> Iterator[Outcome]:
        now = time.monotonic()
        for worker, watch in list(watched.items()):
            limit = watch.task.limit
            if limit is None or watch.since is None or now - watch.since <= limit:
                continue
            del watched[worker]
            self.crew.kill(worker)
            board.forget(worker)
            yield self.runner.failed(
                cases[watch.task.number].planned,
                f"an episode took longer than {self.timeout:g} s (--timeout); finished episodes "
                "are kept",
            )


def _lacks_cost(outcome: Outcome) -> bool:
    record = outcome.record
    return record is not None and record.status == "done" and record.cost is None


def _outcome(planned: Planned, answer: TaskResult) -> Outcome:
    if answer.hint is not None:
        planned.hint = answer.hint
    return Outcome(planned, answer.how, answer.record, answer.detail)
