"""The committed weights of the mini suite against a training that anybody can repeat."""

import subprocess
from pathlib import Path

import pytest

from cdfss_bench.bench.records.schema import RunRecord, read_runs
from cdfss_bench.canonical import file_sha256

from ...support.program import program


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return program(*words, "--device", "cpu", cwd=folder)


def records(results: Path) -> dict[str, RunRecord]:
    return {record.domain.name: record for _, record in read_runs(results)}


@pytest.mark.long
@pytest.mark.parametrize("method", ["loec"])
def test_a_training_reproduces_the_committed_weights(method: str, tmp_path: Path) -> None:
    trained = typed(tmp_path, "train", "--suite", "mini", "-m", method, "-o", "weights")
    assert trained.returncode == 0, trained.stderr
    run = ("run", "-m", method, "--suite", "mini", "--no-cost")
    assert typed(tmp_path, *run, "--results", "committed").returncode == 0
    own = typed(tmp_path, *run, "--results", "own", "--weights-dir", "weights")
    assert own.returncode == 0, own.stderr
    (weights,) = (tmp_path / "weights").glob("*.safetensors")
    committed, found = records(tmp_path / "committed"), records(tmp_path / "own")
    assert len(found) == 4
    for domain, record in found.items():
        other = committed[domain]
        assert record.metrics is not None
        assert other.metrics is not None
        assert other.metrics.miou_interval is not None
        assert record.weights.checkpoint_sha256 == file_sha256(weights), "the new ones were asked"
        low, high = other.metrics.miou_interval
        assert low <= record.metrics.miou <= high, domain


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--suite real", "unknown suite 'real'"),
        ("--suite mini --source pascal", "--suite mini trains on mini"),
    ],
)
def test_a_suite_names_its_source(words: str, sentence: str, tmp_path: Path) -> None:
    done = typed(tmp_path, "train", "-m", "loec", *words.split())
    assert done.returncode == 2
    assert sentence in done.stderr
    done = typed(tmp_path, "train", "-m", "loec", "--suite", "mini", "--episodes", "2")
    assert done.returncode == 0, done.stderr
    assert "training ssp+lem on mini-source" in done.stderr
