"""A Ray cluster of several nodes computes what one process does, whoever is lost on the way."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.evaluate import Settings
from cdfss_bench.bench.executors.board import Board
from cdfss_bench.bench.executors.choosing import Choice, executor
from cdfss_bench.bench.executors.work import Task
from cdfss_bench.bench.runner import Progress, Runner
from cdfss_bench.bench.selection import Selection, plan

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
    at_work: dict[str, bool] = {}
    lost: list[str] = []
    again: list[Task] = []
    put_back = Board.put_back

    def listen(progress: Progress) -> None:
        assert progress.planned.cell is not None
        at_work[progress.planned.cell.id] = progress.done < progress.total
        if sum(at_work.values()) == 3 and not lost:
            node = list(cluster.worker_nodes)[-1]
            lost.append(node.node_id)
            cluster.remove_node(node, allow_graceful=False)

    def counted(board: Board, task: Task, *, last: bool = False) -> None:
        again.append(task)
        put_back(board, task, last=last)

    monkeypatch.setattr(Board, "put_back", counted)
    running = executor(
        Choice("ray", jobs=3), shared, Settings(device="cpu"), listen, with_cost=False
    )
    outcomes = list(running.run(list(plan(selection))))
    assert lost, "three nodes were never at work together"
    assert again, "nothing was at work on the node that was lost"
    assert {outcome.how for outcome in outcomes} <= {"computed", "resumed"}
    assert bytes_of(shared) == bytes_of(alone)
    assert len(bytes_of(shared)) == len(expected) == 16
    assert not list(shared.glob(".seen*"))
