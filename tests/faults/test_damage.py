"""Bits that flip and files that end too early: computed again or named, never believed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import MetricsPart
from cdfss_bench.errors import UserError

from ..bench.conftest import run_mini as run_mini
from .conftest import rows_of

Run = Callable[..., list[Outcome]]
ASKED: dict[str, Any] = {
    "methods": ["prototype"],
    "domains": ["mini-lesion"],
    "shots": [1, 2],
    "episodes": 8,
}
NUMBERS = [30, pytest.param(600, marks=pytest.mark.long)]


def damaged(whole: bytes, rng: Random) -> bytes:
    """A file with a flipped bit, or without its end."""
    place = rng.randrange(len(whole))
    if rng.random() < 0.25:
        return whole[:place]
    changed = bytearray(whole)
    changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def shown_by(results: Path) -> dict[str, MetricsPart | None] | UserError:
    """What `report` would show, or why it would not; rows are read where a number needs them."""
    try:
        found = run_results(results)
        assert all(answer.rows for answer in found)
        return {answer.record.cell: answer.record.metrics for answer in found}
    except UserError as error:
        return error


@pytest.mark.parametrize("number", NUMBERS)
def test_damaged_records_and_caches(number: int, run_mini: Run, tmp_path: Path) -> None:
    results, rng = tmp_path / "results", Random(0)
    run_mini(**ASKED)
    expected = rows_of(results)
    said = shown_by(results)
    files = sorted(
        path
        for folder in (results, tmp_path / "cache")
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size
    )
    refused = 0
    for _ in range(number):
        path = rng.choice([f for f in files if f.name != "timings.jsonl"])
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, rng))
        shown = shown_by(results)
        if isinstance(shown, UserError):
            refused += 1
            assert str(path) in shown.problem
            assert shown.hint
        else:
            assert shown == said, path
        run_mini(**ASKED)
        assert rows_of(results) == expected, path
        for cell in results.glob("runs/*/*/*"):
            if path.name != "manifest.json":
                assert verify(cell).problems == (), path
        if path.name == "manifest.json":
            path.write_bytes(whole)
    assert refused


@pytest.mark.parametrize("number", NUMBERS)
def test_damaged_rows_of_a_run_that_was_stopped(number: int, run_mini: Run, tmp_path: Path) -> None:
    """A digit that flips leaves a row that looks whole; its checksum tells."""
    asked, rng = {**ASKED, "shots": [1]}, Random(1)
    run_mini(**asked)
    (cell,) = (tmp_path / "results").glob("runs/*/*/*")
    rows, timings, record = (
        (cell / name).read_bytes() for name in ("episodes.jsonl", "timings.jsonl", "run.json")
    )
    for _ in range(number):
        (cell / "run.json").write_bytes(record.replace(b'"done"', b'"started"'))
        (cell / "timings.jsonl").write_bytes(timings)
        (cell / "episodes.jsonl").write_bytes(damaged(rows, rng))
        (outcome,) = run_mini(**asked)
        assert outcome.how in ("computed", "resumed")
        assert (cell / "episodes.jsonl").read_bytes() == rows


@pytest.mark.parametrize("number", [6, pytest.param(200, marks=pytest.mark.long)])
def test_damaged_weights(number: int, run_mini: Run, seeded_weights: Path, tmp_path: Path) -> None:
    asked = {"methods": ["hsnet"], "domains": ["mini-lesion"], "episodes": 2}
    (whole,) = run_mini(**asked)
    assert whole.record is not None
    rng = Random(2)
    for attempt in range(number):
        folder = tmp_path / f"weights-{attempt}"
        shutil.copytree(seeded_weights, folder)
        path = rng.choice(sorted(folder.glob("*.safetensors")))
        path.write_bytes(damaged(path.read_bytes(), rng))
        (outcome,) = run_mini(**asked, weights_dirs=(folder,))
        if outcome.how == "computed":
            # Other weights are another cell, by their sha256; nothing is mixed.
            assert outcome.record is not None
            assert outcome.record.cell != whole.record.cell
        else:
            assert outcome.how in ("refused", "failed")
            assert outcome.detail
    again = run_mini(**asked)
    assert [outcome.how for outcome in again] == ["known"]
