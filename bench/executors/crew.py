"""The seam: workers that take one task each and report what happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .work import Task, TaskResult


@dataclass(frozen=True, slots=True)
class Stepped:
    """A worker finished episodes of its task."""

    worker: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker finished its task and is free."""

    worker: int
    answer: TaskResult


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone, its task unfinished; `reason` completes "the process that computed it"."""

    worker: int
    reason: str


Event = Stepped | Answered | Died


class Crew(Protocol):
    """Workers by number; the number of one that died is not used again."""

    @property
    def size(self) -> int:
        """How many tasks can be worked on at once."""
        ...

    def free(self) -> Sequence[int]:
        """Workers that can be given a task."""
        ...

    def give(self, worker: int, task: Task) -> None:
        """Hands a task to a free worker."""
        ...

    def events(self, seconds: float) -> Sequence[Event]:
        """What happened; waits at most so long for the first."""
        ...

    def kill(self, worker: int) -> None:
        """Ends a worker at once; it is gone, with its locks, when this returns."""
        ...

    def stop(self) -> None:
        """Ends all workers; tasks at work are marked as interrupted where there is time."""
        ...
