"""A Ray cluster of several nodes computes what one process does, whoever is lost on the way."""

import contextlib
import importlib.util
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.runner import Runner
from cdfss_bench.bench.executors.choosing import Choice, executor
from cdfss_bench.bench.executors.pool import News, WorkerDied
from cdfss_bench.bench.executors.ray import _ActorSlot  # pyright: ignore[reportPrivateUsage]
from cdfss_bench.bench.executors.work import Task
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, seeded_weights: Path) -> Iterator[Any]:
    """A head without processors and three nodes with one each."""
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(3):
        made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
    yield made
    ray.shutdown()
    made.shutdown()


def bytes_of(results: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in (results / "runs").glob("*/*/*/episodes.jsonl")
    }


def test_a_node_that_is_lost_costs_time_and_no_number(
    cluster: Any, seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    selection = Selection(
        methods=("ssp", "prototype"),
        shots=(1, 5),
        suite="mini",
        weights_dirs=(seeded_weights,),
        episodes=40,
    )
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    expected = list(Runner(alone, with_cost=False).run(plan(selection)))
    assert {outcome.how for outcome in expected} == {"computed"}
    lost: list[object] = []
    died: list[WorkerDied] = []
    given: set[object] = set()
    perform = _ActorSlot.perform

    def whereabouts(_actor: Any) -> tuple[int, str]:
        return os.getpid(), ray.get_runtime_context().get_node_id()

    def lose(slot: _ActorSlot, task: Task) -> Iterator[News]:
        """The first worker to get a second task stops, gets it, and goes with its node.

        What is stopped cannot answer before its node is gone, however fast the machine is.
        """
        if lost or slot not in given:
            given.add(slot)
            yield from perform(slot, task)
            return
        lost.append(slot)
        actor = slot._actor  # pyright: ignore[reportPrivateUsage]
        process, node_id = ray.get(actor.__ray_call__.remote(whereabouts))
        os.kill(process, signal.SIGSTOP)
        news = perform(slot, task)
        yield next(news)
        [node] = [node for node in cluster.worker_nodes if node.node_id == node_id]
        cluster.remove_node(node, allow_graceful=False)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        try:
            yield from news
        except WorkerDied as death:
            died.append(death)
            raise

    monkeypatch.setattr(_ActorSlot, "perform", lose)
    running = executor(Choice("ray", jobs=3), shared, Settings(device="cpu"), None, with_cost=False)
    outcomes = list(running.run(list(plan(selection))))
    assert lost, "no worker was given a second task"
    assert len(died) == 1, "the task of the node that was lost was not tried again"
    assert {outcome.how for outcome in outcomes} <= {"computed", "resumed"}
    assert bytes_of(shared) == bytes_of(alone)
    assert len(bytes_of(shared)) == len(expected) == 16
    assert not list(shared.glob(".seen*"))
