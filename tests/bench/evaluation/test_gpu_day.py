"""The command for a day with a GPU, in miniature on the CPU; and the report that is committed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ...benchmarks.gpu_day import STAGES, main, markdown
from ...conftest import CHECKOUT

COMMITTED = CHECKOUT / "results" / "gpu"


def asked(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["--minutes", "1", "-o", str(folder), *words])
    assert (folder / "gpu_day.md").read_text().startswith("# ")
    assert {path.name for path in folder.iterdir()} == {"gpu_day.json", "gpu_day.md"}
    return code, json.loads((folder / "gpu_day.json").read_text())


def test_a_stage_writes_what_it_measured(tmp_path: Path) -> None:
    code, report = asked(tmp_path, "--device", "cpu", "--stages", "rows", "--methods", "ssp 5")
    assert code == 0
    (row,) = [row for row in report["stages"]["rows"]["rows"] if "method" in row]
    assert (row["method"], row["shots"], row["size"]) == ("ssp", 5, 128)
    assert row["gflop_episode"] > 0
    assert row["episode_ms"] > row["encode_ms"] > 0
    assert report["environment"]["torch"] == torch.__version__
    assert "gpu_day.py" in report["command"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the stages would not fail")
def test_a_stage_that_fails_is_reported_and_the_next_one_runs(tmp_path: Path) -> None:
    code, report = asked(tmp_path, "--stages", "rows", "training")
    assert code == 1
    assert [stage["ended"] for stage in report["stages"].values()] == ["failed", "failed"]
    assert all("CUDA" in stage["error"] for stage in report["stages"].values())


def test_a_stage_without_time_says_what_it_left_out(tmp_path: Path) -> None:
    words = ["--device", "cpu", "--stages", "choices", "--minutes", "0.15"]
    code, report = asked(tmp_path, *words)
    assert code == 0
    stage = report["stages"]["choices"]
    assert any("left_out" in row for row in stage["rows"]) or "time" in stage["ended"]


def test_what_is_committed_is_what_the_command_wrote() -> None:
    report = json.loads((COMMITTED / "gpu_day.json").read_text())
    assert (COMMITTED / "gpu_day.md").read_text() == markdown(report)
    assert {"device", "driver", "torch", "cuda", "python"} <= report["environment"].keys()
    assert report["stages"].keys() == STAGES.keys()
