"""The evaluator on the device: the CPU's counts whatever the batch, memory and precision."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.evaluation.prediction import load_method
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.statistics.metrics import measure
from cdfss_bench.datasets import Domain, Episode, open_domain
from cdfss_bench.datasets.core.transforms import normalised
from cdfss_bench.methods import METHODS, parse
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.build import fitting
from cdfss_bench.methods.weights.resolve import resolve_weights

from .conftest import Measured

pytestmark = pytest.mark.gpu

PIXELS = 8
"""Of 16,384 in an episode: how many rounding may decide otherwise. Features and scores of the
device differ from the CPU's in the last digits; only near pixels can change sides."""

HOSTS = [name for name in METHODS.names() if METHODS.card(name).kind == "host"]
NAMES = [*HOSTS, "loec", "prototype", "centre-ellipse"]
EPISODES = 20


def adapting(name: str) -> Method:
    """With the mini suite's weights."""
    composition = parse(name).in_miniature()
    backbone = next((b for b in fitting(composition) if b.endswith("mini")), None)
    return load_method(composition, resolve_weights(composition, backbone=backbone, folders=[]))


def network(name: str) -> Method:
    """IFA without its steps at test."""
    return adapting("ifa[steps=0]" if name == "ifa" else name)


def asked(domain: str = "mini-chest", shots: int = 5) -> tuple[Domain, Sequence[Episode]]:
    opened = open_domain(domain)
    return opened, opened.episodes(shots, 0, "patnet", EPISODES).episodes


def counted(
    method: Method, domain: Domain, episodes: Sequence[Episode], settings: Settings
) -> dict[int, Counts]:
    stores = FeatureStores(settings.budget)
    found: dict[int, Counts] = {}
    for rows, _ in evaluate(method, domain, episodes, settings=settings, stores=stores):
        found |= {row.index: row.counts for row in rows}
        assert stores.used <= settings.budget
    assert sorted(found) == list(range(len(episodes)))
    return found


def largest(one: dict[int, Counts], other: dict[int, Counts]) -> int:
    pairs = ((one[index], other[index]) for index in one)
    return max(abs(a - b) for left, right in pairs for a, b in zip(left, right, strict=True))


def miou(episodes: Sequence[Episode], found: dict[int, Counts]) -> float:
    return measure([e.class_id for e in episodes], [found[i] for i in range(len(found))]).miou


def test_pictures_are_normalised_alike(device: str) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert torch.equal(normalised(levels, device).cpu(), normalised(levels))


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_the_cpus(name: str, device: str, measured: Measured) -> None:
    domain, episodes = asked()
    method = network(name)
    expected = counted(method, domain, episodes, Settings())
    assert any(counts.inter > 0 for counts in expected.values())
    plain = Settings(device)
    for settings in (
        plain,
        replace(plain, batch=1),
        replace(plain, batch=7, encode_batch=16),
        replace(plain, budget=1 << 20),
    ):
        found = counted(method, domain, episodes, settings)
        measured(f"pixels, batch {settings.batch}", largest(expected, found))
        assert largest(expected, found) <= PIXELS


@pytest.mark.parametrize("name", ["ssp", "hsnet", "fptrans"])
def test_one_shot_and_several_classes(name: str, device: str) -> None:
    domain, episodes = asked("mini-landcover", shots=1)
    method = network(name)
    expected = counted(method, domain, episodes, Settings())
    assert largest(expected, counted(method, domain, episodes, Settings(device))) <= PIXELS


def bf16_gain(name: str, device: str, episodes: int) -> float:
    """mIoU in points with bfloat16 less that with float32."""
    domain, chosen = asked()
    chosen, method = chosen[:episodes], network(name)
    exact = miou(chosen, counted(method, domain, chosen, Settings(device)))
    method.precision = "bf16"
    return miou(chosen, counted(method, domain, chosen, Settings(device))) - exact


@pytest.mark.parametrize("name", ["ssp", "loec", "hsnet", "patnet", "ssp-vit"])
def test_bf16_changes_little(name: str, device: str, measured: Measured) -> None:
    gain = bf16_gain(name, device, EPISODES)
    measured("miou of bf16 less that of fp32", gain)
    assert abs(gain) < 2


@pytest.mark.parametrize("name", ["ssp", "hsnet"])
def test_a_batch_that_does_not_fit_is_halved(name: str, cuda: str, measured: Measured) -> None:
    domain, episodes = asked()
    method = network(name)
    expected = counted(method, domain, episodes, Settings(cuda, budget=1))
    method = method.to(cuda)

    def peak(batch: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        counted(method, domain, episodes, Settings(cuda, batch=batch, budget=1))
        return torch.cuda.max_memory_reserved()

    small, large = peak(2), peak(EPISODES)
    measured("MiB, batch 2 and 20", (small >> 20, large >> 20))
    assert small < large
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction((small + large) / 2 / whole)
    try:
        found = counted(method, domain, episodes, Settings(cuda, batch=EPISODES, budget=1))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert largest(expected, found) <= PIXELS


@pytest.mark.parametrize("name", ["prototype", "ssp", "hsnet"])
def test_the_host_seldom_waits(name: str, cuda: str, measured: Measured) -> None:
    """Waits are what keeps a device idle: a few a batch, whatever the number of episodes in it."""
    domain, episodes = asked()
    method = network(name)
    counted(method, domain, episodes, Settings(cuda))  # loads kernels

    def waits(batch: int) -> int:
        settings = Settings(cuda, batch=batch, encode_batch=EPISODES)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                counted(method, domain, episodes, settings)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(one.message) for one in seen)

    together, halves = waits(EPISODES), waits(EPISODES // 2)
    measured("waits for 20 episodes in one batch, in two", (together, halves))
    assert together <= EPISODES
    assert halves <= 2 * together
