"""Trainings in processes of their own: killed and taken up again, or sharing their batches."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.training.distributed import Objective, Processes, wrapped
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.build import build

from ...support.program import PROGRAM
from ...support.trainings import written

TRAIN = ["train", "--source", "mini", "--batch", "2", "--device", "cpu", "--threads", "1"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "CDFSS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def run(words: list[str], folder: Path) -> None:
    done = subprocess.run(
        words, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def steps_in(log: Path) -> int:
    lines = log.read_text().splitlines()[:-1] if log.is_file() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    words = [PROGRAM, *TRAIN, "-m", "ssp+lem", "--episodes", "50", "--save-every", "3"]
    run([*words, "-o", "whole"], tmp_path)
    name = "ssp+lem-resnet-mini.safetensors"
    cut = tmp_path / "cut" / name
    with subprocess.Popen(
        [*words, "-o", "cut"], cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.DEVNULL
    ) as process:
        while steps_in(cut.with_suffix(".log.jsonl")) < 7 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not cut.exists()
    assert cut.with_suffix(".training").is_file()
    run([*words, "-o", "cut"], tmp_path)
    assert cut.read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    # Five episodes: in the last step the second process has none.
    words = [*TRAIN, "-m", "ssp+lem", "-m", "hsnet", "--episodes", "5"]
    run([PROGRAM, *words, "-o", "one"], tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc-per-node", "2", "--no-python", PROGRAM]
    run([*launch, *words, "-o", "two"], tmp_path)
    found = {path.name for path in (tmp_path / "one").glob("*.safetensors")}
    assert len(found) == 2
    for name in found:
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        (tensors, card), (shared, other) = written(one), written(two)
        assert (card.processes, other.processes) == (1, 2)
        assert tensors.keys() == shared.keys()
        # Adam divides a gradient near zero by its own size: a hundredth of a step is rounding.
        nearly = 1e-5 if name.startswith("hsnet") else 1e-7
        for key, tensor in tensors.items():
            torch.testing.assert_close(shared[key], tensor, rtol=1e-4, atol=nearly)

        def losses(path: Path) -> list[float]:
            lines = path.with_suffix(".log.jsonl").read_text().splitlines()
            return [json.loads(line)["loss"] for line in lines]

        assert losses(two) == pytest.approx(losses(one), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "who"), [("dra[kernel=3]", "DRA"), ("ssp+lem[sigma=auto]", "SSP")]
)
def test_a_method_with_running_statistics_is_not_shared(name: str, who: str) -> None:
    shared = Processes(rank=0, count=2)
    objective = Objective(build(name, backbone="resnet-mini"), shared)
    with pytest.raises(UserError, match=f"{who} keeps running statistics of its batches"):
        wrapped(objective, shared)


def test_every_row_is_computed_once_and_nobody_is_idle() -> None:
    shares = [Processes(rank, 3).rows(range(7)) for rank in range(3)]
    assert sorted(row for share in shares for row in share) == list(range(7))
    assert [list(Processes(rank, 3).rows(range(1))) for rank in range(3)] == [[0], [0], [0]]
