"""Processes compute what one does; what is stopped resumes; nobody takes more than its share."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.runner import Runner
from cdfss_bench.bench.executors.choosing import Choice, executor
from cdfss_bench.bench.executors.local import settings_of
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.schema import read_record
from cdfss_bench.errors import UserError

from ...support.program import PROGRAM, typed


def test_budget_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [s.budget for s in settings_of(Settings(budget=90), 3)] == [30, 30, 30]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    shared = settings_of(Settings(device="cuda", budget=90), 4)
    assert [s.device for s in shared] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert {s.budget for s in shared} == {45}
    alone = settings_of(Settings(device="cuda", budget=90), 2)
    assert [(s.device, s.budget) for s in alone] == [("cuda:0", 90), ("cuda:1", 90)]
    assert {s.device for s in settings_of(Settings(device="cuda:1"), 2)} == {"cuda:1"}


def test_an_unknown_executor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean ray"):
        executor(Choice("rai"), tmp_path, Settings(), None, with_cost=False)


def environment(weights: Path, tmp_path: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "CDFSS_WEIGHTS": str(weights),
        "CDFSS_CACHE": str(tmp_path / "cache"),
        "CDFSS_DEVICE": "cpu",
    }


def files_of(results: Path, name: str) -> dict[str, bytes]:
    return {
        path.relative_to(results).as_posix(): path.read_bytes()
        for path in results.glob(f"runs/*/*/*/{name}")
    }


def test_two_processes_write_the_bytes_of_one_and_measure_cost_alone(
    seeded_weights: Path, tmp_path: Path
) -> None:
    selection = Selection(
        methods=("ssp", "centre-ellipse"), domains=("mini-lesion", "mini-chest"), shots=(1, 2),
        suite="mini", weights_dirs=(seeded_weights,), episodes=4,
    )  # fmt: skip
    list(Runner(tmp_path / "one", with_cost=False).run(plan(selection)))
    words = "run -m ssp -m centre-ellipse -d mini-lesion -d mini-chest -k 1 -k 2 --episodes 4 -j 2"
    words += " --results two"
    done = typed(words, tmp_path, **environment(seeded_weights, tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": mIoU") == 8
    for name in ("episodes.jsonl", "manifest.json"):
        assert files_of(tmp_path / "two", name) == files_of(tmp_path / "one", name)
    for path in (tmp_path / "two").glob("runs/*/*/*/run.json"):
        two = read_record(path)
        one = read_record(tmp_path / "one" / path.relative_to(tmp_path / "two"))
        assert two.command == f"cdfss-bench {words}"
        assert (two.metrics, two.notes, two.cell) == (one.metrics, one.notes, one.cell)
        assert two.cost is not None
        assert one.cost is None


@pytest.mark.parametrize("interrupts", [1, 2])
def test_ctrl_c_leaves_everything_resumable_and_nobody_behind(
    interrupts: int, seeded_weights: Path, tmp_path: Path
) -> None:
    words = "run -m ssp -d mini-lesion -k 1 -k 5 --episodes 150 -j 2 --no-cost --results results"
    process = subprocess.Popen(
        [PROGRAM, *words.split()],
        cwd=tmp_path, env=environment(seeded_weights, tmp_path), stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # Who started the tests may have them ignore it, which a child would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        rows = files_of(tmp_path / "results", "episodes.jsonl")
        if len(rows) == 2 and all(text.count(b"\n") >= 3 for text in rows.values()):
            break
        time.sleep(0.02)
    for _ in range(interrupts):
        # As a terminal does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    _, said = process.communicate(timeout=60)
    # The second may meet an interpreter that is already leaving; a shell calls both 130.
    assert process.returncode in ({130} if interrupts == 1 else {130, -signal.SIGINT}), said
    assert "Traceback" not in said
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and group_lives(process.pid):
        time.sleep(0.05)
    assert not group_lives(process.pid)
    before = files_of(tmp_path / "results", "episodes.jsonl")
    assert all(text.count(b"\n") >= 3 for text in before.values())
    if interrupts == 1:
        assert "interrupted: finished episodes are kept" in said
        records = [read_record(p) for p in tmp_path.glob("results/runs/*/*/*/run.json")]
        assert {record.status for record in records} == {"interrupted"}


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
