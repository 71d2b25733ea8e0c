"""Which task comes next: the cells that share a network stay with one worker while they can."""

from __future__ import annotations

from collections.abc import Sequence

from .work import Task


class Board:
    """Tasks that wait, and who had what.

    Args:
        tasks: in the order of the plan.
    """

    def __init__(self, tasks: Sequence[Task]):
        self._waiting = list(tasks)
        self._last: dict[int, Task] = {}

    def __len__(self) -> int:
        """Tasks that wait."""
        return len(self._waiting)

    def take(self, worker: int) -> Task | None:
        """The next task for a worker; None where nothing waits.

        First what shares network and features with its last task, then what shares them with
        nobody's, then whatever is left: a worker without work is worse than a network built twice.
        """
        if not self._waiting:
            return None
        mine = self._last.get(worker)
        others = [task.selection for other, task in self._last.items() if other != worker]

        def distance(task: Task) -> int:
            if mine is not None and task.selection == mine.selection:
                return 0
            return 2 if task.selection in others else 1

        task = min(self._waiting, key=distance)
        self._waiting.remove(task)
        self._last[worker] = task
        return task

    def put_back(self, task: Task, *, last: bool = False) -> None:
        """A task that must be tried again, next or after all others."""
        self._waiting.insert(len(self._waiting) if last else 0, task)

    def forget(self, worker: int) -> None:
        """A worker that is gone shares nothing."""
        self._last.pop(worker, None)
