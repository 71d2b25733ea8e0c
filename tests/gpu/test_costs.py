"""What a method costs is counted alike on every device; time and memory are the device's own."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.cost.profile import cost_of
from cdfss_bench.bench.records.environment import describe
from cdfss_bench.bench.records.schema import CostPart
from cdfss_bench.methods import METHODS
from cdfss_bench.methods.conformance.probe import built, seeded

from .conftest import Measured

pytestmark = pytest.mark.gpu

HOSTS = [name for name in METHODS.names() if METHODS.card(name).kind == "host"]
COUNTED = (
    "params", "flops_encode", "flops_match", "flops_adapt", "flops_episode", "flops_query",
    "flops_support", "flops_fft", "flops_published",
)  # fmt: skip


def cost_on(name: str, device: str) -> CostPart:
    """The method's cost on `device`, its operations held against the CPU's."""
    expected = cost_of(seeded(built(name)).eval(), shots=2, size=128, device="cpu")
    found = cost_of(seeded(built(name)).eval(), shots=2, size=128, device=device)
    for field in COUNTED:
        assert getattr(found, field) == getattr(expected, field), field
    assert set(found.latency_ms) == set(expected.latency_ms)
    assert found.peak_memory_mb > 0
    if device != "cpu":
        assert found.threads == 0
        assert (found.best_batch is None) == (found.flops_adapt > 0)
    return found


@pytest.mark.parametrize("name", [*HOSTS, "hsnet+apm-m+acpa", "patnet+tfi"])
def test_operations_are_those_of_the_cpu(name: str, device: str, measured: Measured) -> None:
    found = cost_on(name, device)
    measured("ms", found.latency_ms["episode"]["p50"])
    assert device == "cpu" or found.device != "cpu"


def test_the_command_line_runs_and_verifies_on_the_device(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--device", device, "--episodes", "6", "-d", "mini-lesion", "-k", "1"]
    assert typed("run", "-m", "loec", "-m", "hsnet", *words) == 0
    assert typed("run", "-m", "loec", "--precision", "bf16", "--no-cost", *words, "-k", "5") == 0
    assert typed("run", "-m", "hsnet+apm-s[steps=1]", *words) == 0
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/**/run.json")]
    assert len(records) == 5
    for record in records:
        assert record["status"] == "done", record["reason"]
        assert record["environment"]["device"] == describe(device)["device"]
        assert (record["environment"]["driver"] is None) == (device == "cpu")
        assert record["cost"] is None or record["cost"]["flops_episode"] > 0
    assert typed("verify") == 0


def typed(*words: str) -> int:
    return CliRunner().invoke(app, words).exit_code
