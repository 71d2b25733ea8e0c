"""What a method costs is counted on the simulated device as on the CPU, by the device's clock."""

from __future__ import annotations

import pytest

from cdfss_bench.bench.cost.profile import cost_of
from cdfss_bench.methods.conformance.probe import built, seeded

from ..gpu.test_costs import COUNTED

pytestmark = pytest.mark.simulated


@pytest.mark.parametrize("name", ["ssp", "hsnet+finetune"])
def test_operations_are_those_of_the_cpu(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The percentiles of so slow a device say nothing: three runs of each part are enough.
    monkeypatch.setattr("cdfss_bench.bench.cost.latency._MILLISECONDS", 0.0)
    monkeypatch.setattr("cdfss_bench.bench.cost.profile.best_batch", lambda rate: rate(2) and 2)
    expected = cost_of(seeded(built(name)).eval(), shots=2, size=128, device="cpu")
    found = cost_of(seeded(built(name)).eval(), shots=2, size=128, device=device)
    for field in COUNTED:
        assert getattr(found, field) == getattr(expected, field), field
    assert set(found.latency_ms) == set(expected.latency_ms)
    assert found.peak_memory_mb > 0
    assert found.threads == 0
    assert found.device == "simulated device"
    assert (found.best_batch is None) == (found.flops_adapt > 0)
