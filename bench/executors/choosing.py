"""Which executor a command means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cdfss_bench.errors import unknown

from ..evaluation.evaluator import Settings
from ..evaluation.runner import Listener, Runner
from ..evaluation.saved_masks import SavedMasks
from ..records.environment import command_line
from ..runtime.threads import available_cpus, set_threads
from . import EXECUTORS
from .local import process_slots
from .pool import Pool
from .ray import RayCluster
from .work import Setup


@dataclass(frozen=True, slots=True)
class Choice:
    """Where and how cells are computed.

    Without `jobs` it is one process, or what the cluster has; without `threads` the workers share
    the processors. `timeout` is in seconds of an episode; `tell` hears why it waits. With
    `cost_again` also those cells are measured whose record has a cost.
    """

    name: str = "local"
    jobs: int | None = None
    threads: int | None = None
    timeout: float | None = None
    plugins: Sequence[Path] = ()
    tell: Callable[[str], None] | None = None
    save_masks: SavedMasks | None = None
    cost_again: bool = False


def executor(
    choice: Choice, results: Path, settings: Settings, listener: Listener | None, *, with_cost: bool
) -> Runner | Pool:
    """The executor that a command means.

    Raises:
        UserError: for an unknown name, or a cluster that does not answer.
    """
    if choice.name not in EXECUTORS:
        raise unknown("executor", choice.name, EXECUTORS)
    jobs = choice.jobs or 1
    if choice.threads is not None:
        set_threads(choice.threads)
    runner = Runner(
        results,
        settings,
        listener=listener,
        with_cost=with_cost,
        cost_again=choice.cost_again,
        save_masks=choice.save_masks,
    )
    setup = Setup(
        results,
        settings,
        tuple(choice.plugins),
        command_line(),
        save_masks=choice.save_masks,
        cost_again=choice.cost_again,
    )
    if choice.name == "ray":
        threads = all_threads = choice.threads or 1
        cluster = RayCluster(setup, choice.jobs or 0, threads, choice.tell)
        slots, close = cluster.slots, cluster.close
    elif jobs > 1 or choice.timeout is not None:
        # More threads than processors only get in the way.
        threads = choice.threads or max(1, available_cpus() // jobs)
        all_threads = torch.get_num_threads()
        slots, close = process_slots(setup, jobs, threads)
    else:
        return runner
    return Pool(slots, runner, threads, all_threads, choice.timeout, close)
