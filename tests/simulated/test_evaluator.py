"""The evaluator on the simulated device: the CPU's counts, and how often the host waits."""

from dataclasses import replace

import pytest
import torch

from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.runtime.memory import spare
from cdfss_bench.methods import METHODS

from ..gpu.test_evaluator import PIXELS, asked, bf16_gain, counted, largest, network
from ..support.simulated_device import counted_waits, largest_tensor

pytestmark = pytest.mark.simulated

BATCH = 4

WAITS = {
    "apseg": 2,
    "fptrans": 2,
    "frost": 2,
    "fssdino": 4,
    "insid3": 2,
    "persam": 12,
    "rsrm": 4,
}
"""The most waits that a batch of four 5-shot episodes may take, encoding and counting included,
where it may be more than the one in which the counts are read; docs/speed.md says what for."""

MATCHING = [
    name
    for name in METHODS.names()
    if METHODS.card(name).kind in ("host", "control")
    and (METHODS.card(name).adaptation == "none" or name == "ifa")
]


@pytest.mark.parametrize("name", [*MATCHING, "loec", "loec-vit", "ssp+lcm-shift"])
def test_counts_of_a_batch_are_the_cpus(name: str, device: str) -> None:
    domain, episodes = asked()
    episodes = episodes[:BATCH]
    method = network(name)
    expected = counted(method, domain, episodes, Settings())
    method.to(device)
    with counted_waits() as waits:
        found = counted(method, domain, episodes, Settings(device, batch=BATCH))
    assert largest(expected, found) <= PIXELS
    assert name == "all-background" or any(counts.inter > 0 for counts in expected.values())
    assert waits.explicit == 0, "the parts of an episode are timed without waiting for them"
    most = WAITS.get(name, 1)
    assert waits.total <= most, f"{name}: {waits} a batch, {most} at most"


@pytest.mark.parametrize("name", ["ssp", "hsnet"])
def test_a_batch_that_does_not_fit_is_halved(name: str, device: str) -> None:
    domain, episodes = asked(shots=1)
    episodes = episodes[:BATCH]
    method = network(name)
    settings = Settings(device, batch=BATCH, encode_batch=1)
    module = torch.get_device_module(device)

    def peak(batch: int) -> int:
        module.reset_peak_memory_stats()
        counted(method, domain, episodes, replace(settings, batch=batch))
        return module.max_memory_allocated()

    expected = counted(method, domain, episodes, Settings())
    method.to(device)
    small, large = peak(1), peak(BATCH)
    assert small < large
    with largest_tensor((small + large) // 2) as refusals:
        found = counted(method, domain, episodes, settings)
    assert refusals.count > 0
    assert largest(expected, found) <= PIXELS


@pytest.mark.parametrize("name", ["ssp", "ssp-vit"])
def test_features_beyond_the_budget_are_encoded_again(name: str, device: str) -> None:
    domain, episodes = asked()
    episodes = episodes[: 2 * BATCH]
    method = network(name)
    expected = counted(method, domain, episodes, Settings())
    encoded: list[int] = []
    for budget in (1 << 30, 1 << 19):
        stores = FeatureStores(budget)
        settings = Settings(device, batch=BATCH, budget=budget)
        parts = list(evaluate(method, domain, episodes, settings=settings, stores=stores))
        found = {row.index: row.counts for rows, _ in parts for row in rows}
        assert largest(expected, found) <= PIXELS
        assert stores.used <= budget
        assert all(t.match > 0 and (t.encode > 0) == (t.encoded > 0) for _, t in parts)
        encoded.append(sum(timing.encoded for _, timing in parts))
    assert encoded[1] > encoded[0], f"{encoded} pictures encoded with much and with little memory"


@pytest.mark.parametrize("name", ["ssp", "ssp-vit"])
def test_bf16_changes_little(name: str, device: str) -> None:
    assert abs(bf16_gain(name, device, 2 * BATCH)) < 2


def test_half_of_the_free_memory_is_spared(device: str) -> None:
    free, _ = torch.get_device_module(device).mem_get_info()
    assert spare(device) == free // 2
