"""A Ray cluster of several nodes computes what one process does, whoever is lost on the way."""

from __future__ import annotations

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
from cdfss_bench.bench.executors.board import Board
from cdfss_bench.bench.executors.choosing import Choice, executor
from cdfss_bench.bench.executors.ray import RayCrew
from cdfss_bench.bench.executors.work import Task
from cdfss_bench.bench.planning.selection import Selection, plan

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
    lost: list[int] = []
    again: list[Task] = []
    given: set[int] = set()
    give, put_back = RayCrew.give, Board.put_back

    def whereabouts(_actor: Any) -> tuple[int, str]:
        return os.getpid(), ray.get_runtime_context().get_node_id()

    def lose(crew: RayCrew, worker: int, task: Task) -> None:
        """The first worker to get a second task stops, gets it, and goes with its node.

        What is stopped cannot answer before its node is gone, however fast the machine is.
        """
        if lost or worker not in given:
            given.add(worker)
            give(crew, worker, task)
            return
        lost.append(worker)
        actor = crew._members[worker].actor  # pyright: ignore[reportPrivateUsage]
        process, node_id = ray.get(actor.__ray_call__.remote(whereabouts))
        os.kill(process, signal.SIGSTOP)
        give(crew, worker, task)
        [node] = [node for node in cluster.worker_nodes if node.node_id == node_id]
        cluster.remove_node(node, allow_graceful=False)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    def counted(board: Board, task: Task, *, last: bool = False) -> None:
        again.append(task)
        put_back(board, task, last=last)

    monkeypatch.setattr(RayCrew, "give", lose)
    monkeypatch.setattr(Board, "put_back", counted)
    running = executor(Choice("ray", jobs=3), shared, Settings(device="cpu"), None, with_cost=False)
    outcomes = list(running.run(list(plan(selection))))
    assert lost, "no worker was given a second task"
    assert len(again) == 1, "the task of the node that was lost was not put back"
    assert {outcome.how for outcome in outcomes} <= {"computed", "resumed"}
    assert bytes_of(shared) == bytes_of(alone)
    assert len(bytes_of(shared)) == len(expected) == 16
    assert not list(shared.glob(".seen*"))
