"""A cost that cannot be measured takes nothing from a finished cell."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from cdfss_bench.bench.evaluation import cell_cost
from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.schema import CostPart, read_record
from cdfss_bench.bench.regression.measure import measured
from cdfss_bench.errors import UserError

from ...support.program import typed

ONCE = """
from cdfss_bench.methods.controls.constant import Constant


class Once(Constant):
    asked = 0

    def score(self, query, states, *, shots):
        Once.asked += 1
        if Once.asked > 3:  # the one episode, and twice when a foreign method is asked again
            raise RuntimeError("no further time\\nand more lines")
        return super().score(query, states, shots=shots)
"""
CARD = "title: Once\nkind: control\nclass: net:Once\nsummary: answers one episode\n"


def selection(*methods: str, **changed: Any) -> Selection:
    values: dict[str, object] = {"domains": ("mini-lesion",), "suite": "mini", "episodes": 2}
    return Selection.model_validate(
        {**values, "methods": methods or ("all-foreground",), **changed}
    )


def ran(results: Path, asked: Selection, **more: Any) -> list[Outcome]:
    return list(Runner(results, Settings(), **more).run(list(plan(asked))))


def test_a_method_that_answers_its_episodes_and_then_no_more_is_done(tmp_path: Path) -> None:
    (tmp_path / "once.yaml").write_text(CARD)
    (tmp_path / "net.py").write_text(ONCE)
    words = "run -m once -d mini-lesion --episodes 1 --plugin ."
    first = typed(words, tmp_path)
    assert first.returncode == 0, first.stderr
    assert ": mIoU" in first.stderr
    assert "warning: cost not measured: RuntimeError: no further time\n" in first.stderr
    assert "once" in first.stdout
    (path,) = tmp_path.glob("results/runs/*/*/*/run.json")
    record = read_record(path)
    assert (record.status, record.cost) == ("done", None)
    assert record.notes == ["cost not measured: RuntimeError: no further time"]
    rows = (path.parent / "episodes.jsonl").read_bytes()
    again = typed(words, tmp_path)
    assert (again.returncode, again.stderr.count("(already complete)")) == (0, 1)
    assert (path.parent / "episodes.jsonl").read_bytes() == rows
    report = typed("report", tmp_path)
    assert report.returncode == 0
    assert "once" in report.stdout
    assert typed("verify", tmp_path).returncode == 0


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: out of memory"),
        torch.OutOfMemoryError("out of memory"),
        MemoryError(),
        KeyError("aten::new_operation"),
        NotImplementedError(),
        AssertionError(),
        OSError(28, "No space left on device"),
        UserError("no", hint="this"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_stops_the_measurement_the_cell_is_done(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def raising(*_arguments: object, **_named: object) -> CostPart:
        calls.append(1)
        raise error

    with monkeypatch.context() as changed:
        changed.setattr(cell_cost, "cost_of", raising)
        outcomes = ran(tmp_path, selection(seeds=(0, 1)))
    assert len(calls) == 1  # two cells that cost the same
    for outcome in outcomes:
        assert outcome.how == "computed"
        assert outcome.detail.startswith(f"cost not measured: {type(error).__name__}")
        assert outcome.record is not None
        assert (outcome.record.status, outcome.record.cost) == ("done", None)
        assert outcome.record.metrics is not None
        assert outcome.record.notes == [outcome.detail]
    for outcome in ran(tmp_path, selection(seeds=(0, 1))):
        assert (outcome.how, outcome.detail) == ("known", "")
        assert outcome.record is not None
        assert outcome.record.cost is not None
        assert outcome.record.notes == []


def test_a_cost_that_is_no_number_is_no_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fine,) = ran(tmp_path / "fine", selection())
    assert fine.record is not None
    assert fine.record.cost is not None
    values = fine.record.cost.model_dump()
    monkeypatch.setattr(
        cell_cost,
        "cost_of",
        lambda *_a, **_n: CostPart.model_validate({**values, "peak_memory_mb": math.nan}),
    )
    (outcome,) = ran(tmp_path / "nan", selection())
    assert outcome.how == "computed"
    assert "cost not measured: ValidationError" in outcome.detail


def test_ctrl_c_during_the_measurement_leaves_a_finished_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_arguments: object, **_named: object) -> CostPart:
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_cost, "cost_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path, selection())
    (path,) = tmp_path.glob("runs/*/*/*/run.json")
    assert read_record(path).status == "done"


def test_a_process_that_ends_during_the_measurement_leaves_a_finished_record(
    tmp_path: Path,
) -> None:
    ran(tmp_path, selection(), with_cost=False)
    (planned,) = plan(selection())
    outcome = Runner(tmp_path, Settings()).failed(planned, "it was ended by SIGKILL")
    assert (outcome.how, outcome.detail) == ("known", "cost not measured: it was ended by SIGKILL")
    (path,) = tmp_path.glob("runs/*/*/*/run.json")
    record = read_record(path)
    assert (record.status, record.notes) == ("done", [outcome.detail])
    assert record.metrics is not None


def test_a_worker_that_cannot_measure_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "once.yaml").write_text(CARD)
    (tmp_path / "net.py").write_text(ONCE)
    words = "run -m once -m all-foreground -d mini-lesion --episodes 1 -j 2 --plugin . --json"
    done = typed(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cost not measured: RuntimeError: no further time") == 1
    assert {row["label"] for row in json.loads(done.stdout)} == {"once", "all-foreground"}


def test_the_gate_refuses_a_cell_without_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_arguments: object, **_named: object) -> CostPart:
        raise RuntimeError("no formula")

    monkeypatch.setattr(cell_cost, "cost_of", raising)
    with pytest.raises(UserError, match="cost not measured: RuntimeError: no formula"):
        measured(selection())


def test_a_cost_is_measured_again_on_request_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = selection("all-foreground", "prototype", "prototype@shuffled-support")
    before = ran(tmp_path, asked)
    assert all(outcome.record is not None for outcome in before)
    (record, *_) = (outcome.record for outcome in before)
    assert record is not None
    assert record.cost is not None
    calls: list[int] = []

    def slower(*_arguments: object, **_named: object) -> CostPart:
        calls.append(1)
        assert record.cost is not None
        return record.cost.model_copy(update={"cpu_share": 0.25})

    monkeypatch.setattr(cell_cost, "cost_of", slower)
    rows = {path: path.read_bytes() for path in tmp_path.rglob("episodes.jsonl")}
    assert [outcome.how for outcome in ran(tmp_path, asked)] == ["known"] * 3
    assert calls == []
    again = ran(tmp_path, asked, cost_again=True)
    assert [outcome.how for outcome in again] == ["known"] * 3
    assert len(calls) == 2  # the control is its host's network
    for path in tmp_path.rglob("run.json"):
        found = read_record(path)
        assert found.cost is not None
        assert found.cost.cpu_share == 0.25
    assert {path: path.read_bytes() for path in rows} == rows


def test_a_cost_that_cannot_be_measured_again_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = ran(tmp_path, selection())
    assert first.record is not None

    def raising(*_arguments: object, **_named: object) -> CostPart:
        raise MemoryError("no room")

    monkeypatch.setattr(cell_cost, "cost_of", raising)
    (outcome,) = ran(tmp_path, selection(), cost_again=True)
    assert outcome.how == "known"
    assert outcome.detail.startswith("cost not measured again, the earlier one is kept: Memory")
    (path,) = tmp_path.rglob("run.json")
    found = read_record(path)
    assert (found.cost, found.notes) == (first.record.cost, first.record.notes)


def test_workers_measure_again_what_has_a_cost(tmp_path: Path) -> None:
    words = "run -m all-foreground -d mini-lesion -k 1,2 --episodes 1"
    assert typed(words, tmp_path).returncode == 0
    files = sorted(tmp_path.rglob("run.json"))
    before = [path.read_bytes() for path in files]
    planned = typed(f"{words} --cost-again --dry-run --json", tmp_path)
    assert [line["state"] for line in json.loads(planned.stdout)] == ["complete"] * 2
    assert typed(f"{words} --cost-again -j 2", tmp_path).returncode == 0
    assert [path.read_bytes() != old for path, old in zip(files, before, strict=True)] == [True] * 2
    refused = typed(f"{words} --cost-again --no-cost", tmp_path)
    assert refused.returncode == 2
    assert "contradict" in refused.stderr
