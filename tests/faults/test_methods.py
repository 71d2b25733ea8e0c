"""Methods that raise, hang, die or give no answer, and devices that run out of memory."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.executors.pool import ATTEMPTS, News, Pool, WorkerDied
from cdfss_bench.bench.executors.work import Setup, Task, TaskResult, Worker
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.runtime.memory import backing_off
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method

from ..bench.evaluation.test_evaluator import prepared
from ..support.program import typed
from .conftest import rows_of

FAULTY = """
import os, signal, time
from pathlib import Path
import torch
from cdfss_bench.methods.controls.constant import Constant


class Faulty(Constant):
    def __init__(self, backbone=None, plugins=(), *, how="raises"):
        super().__init__(backbone, plugins)
        self.how, self.asked = how, 0

    def score(self, query, states, *, shots):
        good = super().score(query, states, shots=shots)
        self.asked += 1
        if self.asked < 3:
            return good
        if self.how == "hangs":
            time.sleep(600)
        if self.how == "dies" and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "nan":
            return good * float("nan")
        if self.how == "shape":
            return good[..., :-3, :-3].repeat(2, 1, 1, 1, 1)
        if self.how == "raises":
            raise ZeroDivisionError("on purpose")
        return good
"""
CARD = """
title: Faulty
kind: control
class: net:Faulty
summary: fails at the third episode
options:
  how: {default: raises, help: in which way}
"""


def test_faulty_methods_do_not_disturb_their_neighbours(tmp_path: Path) -> None:
    """Two processes, an episode may take some seconds; what is sound is computed all the same."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "faulty.yaml").write_text(CARD)
    (folder / "net.py").write_text(FAULTY)
    words = "run -d mini-chest --episodes 6 --no-cost --device cpu -j 2 --timeout 5 --plugin plugin"
    for how in ("raises", "hangs", "dies", "nan", "shape"):
        words += f" -m faulty[how={how}]"
    words += " -m all-foreground"
    done = typed(words, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = {line.partition(" ·")[0]: line for line in done.stderr.splitlines() if " · " in line}
    for name, sentence in {
        "faulty[how=raises]": "failed: ZeroDivisionError: on purpose (net.py:",
        "faulty[how=hangs]": "failed: an episode took longer than 5 s (--timeout)",
        "faulty[how=dies]": ": mIoU",
        "faulty[how=nan]": "failed: ValueError: Faulty returned NaN for the query '",
        "faulty[how=shape]": "failed: ",
        "all-foreground": ": mIoU",
    }.items():
        assert sentence in lines[name], lines
    for path in tmp_path.glob("results/runs/*/*/*"):
        record = json.loads((path / "run.json").read_text())
        rows = (path / "episodes.jsonl").read_text().splitlines()
        assert len(rows) == (6 if record["status"] == "done" else 2)
        assert (record["metrics"] is None) == (record["status"] == "failed")
        if record["status"] == "failed":
            assert record["reason"]


class FakeSlot:
    """Room for workers in this process that die at the tasks that they are told to."""

    computing = threading.Lock()

    def __init__(self, setup: Setup, deadly: Callable[[Task], bool]):
        self.worker = Worker(setup)
        self.deadly = deadly
        self.deaths = 0
        self.stopped = False

    def is_ready(self) -> bool:
        return True

    def perform(self, task: Task) -> Iterator[News]:
        if self.deadly(task):
            self.deaths += 1
            raise WorkerDied("was ended by SIGKILL")
        steps: list[tuple[int, int]] = []
        with self.computing:
            answer = self.worker.perform(task, lambda done, total: steps.append((done, total)))
        yield from steps
        yield answer

    def interrupt(self) -> None:
        self.stopped = True

    def kill(self) -> None:
        assert self.stopped, "a worker was killed"


def pooled(
    results: Path, weights: Path, deadly: Callable[[Task], bool]
) -> tuple[list[Outcome], list[FakeSlot]]:
    selection = Selection(
        methods=("prototype", "ssp"), domains=("mini-lesion",), shots=(1, 2), suite="mini",
        weights_dirs=(weights,), episodes=3,
    )  # fmt: skip
    slots = [FakeSlot(Setup(results, Settings()), deadly) for _ in range(3)]
    pool = Pool(slots, Runner(results, with_cost=False), threads=1, all_threads=1)
    return list(pool.run(plan(selection))), slots


def test_a_worker_that_dies_is_replaced_and_its_cell_tried_again(
    seeded_weights: Path, tmp_path: Path
) -> None:
    deaths: dict[str, int] = {}

    def twice(task: Task) -> bool:
        deaths[task.cell] = deaths.get(task.cell, 0) + 1
        return deaths[task.cell] < ATTEMPTS

    calm, _ = pooled(tmp_path / "calm", seeded_weights, lambda _task: False)
    outcomes, slots = pooled(tmp_path / "torn", seeded_weights, twice)
    assert {outcome.how for outcome in (*calm, *outcomes)} == {"computed"}
    assert rows_of(tmp_path / "torn") == rows_of(tmp_path / "calm")
    assert sum(slot.deaths for slot in slots) == 4 * (ATTEMPTS - 1)
    assert all(slot.stopped for slot in slots)


def test_a_cell_that_ends_every_worker_is_failed_and_the_rest_is_done(
    seeded_weights: Path, tmp_path: Path
) -> None:
    victims: list[str] = []

    def deadly(task: Task) -> bool:
        victims.append(task.cell)
        return task.cell == victims[0]

    outcomes, _ = pooled(tmp_path, seeded_weights, deadly)
    assert sorted(outcome.how for outcome in outcomes) == ["computed"] * 3 + ["failed"]
    (failed,) = [outcome for outcome in outcomes if outcome.how == "failed"]
    assert "was ended by SIGKILL, 3 times in a row" in failed.detail
    assert failed.record is not None
    assert (failed.record.status, failed.record.metrics) == ("failed", None)


def test_a_worker_with_other_weights_refuses(seeded_weights: Path, tmp_path: Path) -> None:
    selection = Selection(
        methods=("prototype",), domains=("mini-lesion",), suite="mini",
        weights_dirs=(seeded_weights,), episodes=3,
    )  # fmt: skip
    worker = Worker(Setup(tmp_path, Settings()))
    answer: TaskResult = worker.perform(Task(selection, "0" * 64, threads=1), lambda *_: None)
    assert answer.how == "refused"
    assert "other code, weights or data" in answer.detail


def counted(method: Method, weights: Path, **settings: int) -> list[Counts]:
    _, domain, episodes = prepared("ssp", weights, shots=2)
    chosen, stores = Settings(**settings), FeatureStores()  # pyright: ignore[reportArgumentType]
    batches = evaluate(method, domain, episodes[:8], settings=chosen, stores=stores)
    return [row.counts for rows, _ in batches for row in rows]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_a_device_without_memory_is_asked_for_less(
    error: Exception, seeded_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _, _ = prepared("ssp", seeded_weights, shots=2)
    expected = counted(network, seeded_weights)
    monkeypatch.setattr(Settings, "episodes_per_batch", lambda _self, _size: 8)  # pyright: ignore
    asked: list[int] = []
    match, encode = network.match_states, network.encode

    def starved(query: object, states: Sequence[object], *, shots: int) -> Tensor:
        asked.append(len(states) // shots)
        if asked[-1] > 3:
            raise error
        return match(query, states, shots=shots)  # pyright: ignore[reportArgumentType]

    def encoded(images: Tensor) -> object:
        if len(images) > 2:
            raise error
        return encode(images)

    monkeypatch.setattr(network, "match_states", starved)
    assert counted(network, seeded_weights) == expected
    assert len(expected) == 8
    # Both halves in halves; a CPU then scores one by one.
    assert [size for size in asked if size > 1] == [8, 4, 2, 2, 4, 2, 2]
    # Where not even the pictures of one episode fit, they are encoded one by one.
    monkeypatch.setattr(network, "encode", encoded)
    assert counted(network, seeded_weights) == expected


def test_an_episode_that_never_fits_is_one_sentence() -> None:
    freed: list[None] = []

    def never(parts: Sequence[int]) -> Tensor:
        raise torch.OutOfMemoryError(f"{len(parts)}")

    with pytest.raises(UserError, match="one episode alone does not fit"):
        backing_off(never, [1, 2, 3], lambda: freed.append(None))
    assert freed == [None]
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        backing_off(_broken, [1, 2], lambda: freed.append(None))


def _broken(_parts: Sequence[int]) -> Tensor:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
