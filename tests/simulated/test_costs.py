"""What a method costs is counted on the simulated device as on the CPU, by the device's clock."""

import pytest

from ..gpu.test_costs import cost_on

pytestmark = pytest.mark.simulated


@pytest.mark.parametrize("name", ["ssp", "hsnet+finetune"])
def test_operations_are_those_of_the_cpu(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The percentiles of so slow a device say nothing: three runs of each part are enough.
    monkeypatch.setattr("cdfss_bench.bench.cost.latency._MILLISECONDS", 0.0)
    monkeypatch.setattr("cdfss_bench.bench.cost.profile.best_batch", lambda rate: rate(2) and 2)
    assert cost_on(name, device).device == "simulated device"
