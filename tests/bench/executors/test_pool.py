"""Which worker gets which cell, what is tried again, and what ends the whole run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.executors import pool
from cdfss_bench.bench.executors.pool import News, Pool
from cdfss_bench.bench.executors.work import Task, TaskResult
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.errors import UserError

DONE = TaskResult("computed", None, "", None)
BUSY = TaskResult("busy", None, "another process is working on it", None)


class FakeSlot:
    """Room for a worker that computes nothing and answers as it is told to."""

    def __init__(self, answer: Callable[[FakeSlot, Task], TaskResult]):
        self.answer = answer
        self.was_interrupted = False

    def is_ready(self) -> bool:
        return True

    def perform(self, task: Task) -> Iterator[News]:
        yield self.answer(self, task)

    def interrupt(self) -> None:
        self.was_interrupted = True

    def kill(self) -> None: ...


def outcomes_of(
    slots: list[FakeSlot], weights: Path, results: Path, shots: tuple[int, ...]
) -> list[Outcome]:
    selection = Selection(
        methods=("ssp", "prototype"), domains=("mini-lesion",), shots=shots, suite="mini",
        weights_dirs=(weights,), episodes=2,
    )  # fmt: skip
    runner = Runner(results, with_cost=False)
    return list(Pool(slots, runner, threads=1, all_threads=1).run(plan(selection)))


@pytest.mark.parametrize(("workers", "built"), [(2, 2), (3, 4)])
def test_cells_that_share_a_network_stay_with_their_worker(
    workers: int, built: int, seeded_weights: Path, tmp_path: Path
) -> None:
    """Of three workers at two networks: better to build one twice than to wait."""
    given: list[tuple[FakeSlot, str]] = []
    turns = threading.Barrier(workers)

    def in_turn(slot: FakeSlot, task: Task) -> TaskResult:
        given.append((slot, task.selection.methods[0]))
        turns.wait(timeout=10)
        return DONE

    slots = [FakeSlot(in_turn) for _ in range(workers)]
    assert len(outcomes_of(slots, seeded_weights, tmp_path, (1, 2, 3))) == len(given) == 6
    assert len(set(given)) == built
    # Each network is begun before any of them is built twice.
    assert {method for _, method in given[:2]} == {"ssp", "prototype"}


def test_a_cell_that_another_process_holds_is_tried_once_more_after_the_others(
    seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_BUSY_SECONDS", 0.01)
    given: list[str] = []

    def busy_at_first(_slot: FakeSlot, task: Task) -> TaskResult:
        given.append(task.cell)
        return BUSY if len(given) < 3 else DONE

    found = outcomes_of([FakeSlot(busy_at_first)], seeded_weights, tmp_path, (1, 2))
    assert [outcome.how for outcome in found] == ["computed"] * 4
    assert given[4:] == given[:2]
    given.clear()
    found = outcomes_of(
        [FakeSlot(lambda _slot, task: given.append(task.cell) or BUSY)],
        seeded_weights, tmp_path, (1,),
    )  # fmt: skip
    assert [outcome.how for outcome in found] == ["busy"] * 2
    assert len(given) == 4


def test_a_worker_that_cannot_work_at_all_ends_the_run(
    seeded_weights: Path, tmp_path: Path
) -> None:
    def refuse(_slot: FakeSlot, _task: Task) -> TaskResult:
        raise UserError("a worker does not see the folder")

    slots = [FakeSlot(refuse) for _ in range(2)]
    with pytest.raises(UserError, match="does not see the folder"):
        outcomes_of(slots, seeded_weights, tmp_path, (1, 2))
    assert all(slot.was_interrupted for slot in slots)
