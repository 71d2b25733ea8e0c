"""What travels to a worker and back: a cell by its selection and id, and what became of it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cdfss_bench.errors import UserError

from ..evaluation.evaluator import Settings
from ..evaluation.runner import How, Runner
from ..evaluation.saved_masks import SavedMasks
from ..planning.planned_cells import Planned, plan
from ..planning.plugin_folders import add_plugins
from ..planning.selection import Selection
from ..records.schema import RunRecord
from ..runtime.threads import set_threads


@dataclass(frozen=True, slots=True)
class Task:
    """One cell to compute.

    Attributes:
        selection: one method on one domain, with all shots and seeds of the command: cells that
            share it share a worker's network and features.
        cell: the cell's id.
        threads: for computing.
        limit: seconds in which the next finished episode must come; None for no limit.
        with_cost: whether FLOPs and latency are measured.
    """

    selection: Selection
    cell: str
    threads: int
    limit: float | None = None
    with_cost: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker must know before its first task; relative paths begin in `folder`."""

    results: Path
    settings: Settings
    plugins: tuple[Path, ...] = ()
    command: str = ""
    folder: Path = field(default_factory=Path.cwd)
    environment: Mapping[str, str] = field(
        default_factory=lambda: {k: v for k, v in os.environ.items() if k.startswith("CDFSS_")}
    )
    save_masks: SavedMasks | None = None
    cost_again: bool = False


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of a task, as `runner.Outcome` has it."""

    how: How
    record: RunRecord | None
    detail: str
    hint: str | None


class Worker:
    """Computes tasks, keeping network and features of the last one for the next.

    Raises:
        UserError: if this machine does not see the folders of the command.
    """

    def __init__(self, setup: Setup):
        os.environ.update(setup.environment)
        try:
            os.chdir(setup.folder)
        except OSError as error:
            raise UserError(
                f"a worker does not see {setup.folder}, where the command was typed",
                hint="type the command in a folder that all machines share",
            ) from error
        add_plugins(setup.plugins)
        self._runner = Runner(
            setup.results,
            setup.settings,
            cost_again=setup.cost_again,
            command=setup.command,
            save_masks=setup.save_masks,
        )
        self._selection: Selection | None = None
        self._cells: dict[str, Planned] = {}

    def perform(self, task: Task, report: Callable[[int, int], None]) -> TaskResult:
        """The result of a task.

        Raises:
            KeyboardInterrupt: if the work is stopped; the record says so.
        """
        set_threads(task.threads)
        try:
            planned = self._planned(task)
        except UserError as error:
            return TaskResult("refused", None, error.problem, error.hint)
        self._runner.listener = lambda progress: report(progress.done, progress.total)
        self._runner.with_cost = task.with_cost
        (outcome,) = self._runner.run([planned])
        return TaskResult(outcome.how, outcome.record, outcome.detail, planned.hint)

    def _planned(self, task: Task) -> Planned:
        if self._selection != task.selection:
            # One domain's pictures at a time: the next selection opens its own.
            cells = list(plan(task.selection))
            self._cells = {p.cell.id: p for p in cells if p.cell is not None}
            self._selection = task.selection
            reasons = [p.reason for p in cells if p.cell is None]
            if not self._cells and reasons:
                raise UserError(f"a worker cannot compute the cell: {reasons[0]}")
        try:
            return self._cells[task.cell]
        except KeyError:
            raise UserError(
                "a worker has other code, weights or data than the machine where the command "
                f"was typed: it does not know cell {task.cell[:16]}",
                hint="install the same version everywhere and share data and weights",
            ) from None
