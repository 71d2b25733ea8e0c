"""What the parts of every method cost, for comparison between commits.

    pytest tests/benchmarks -m speed --benchmark-autosave
    pytest-benchmark compare

Networks are the mini suite's with drawn parameters. Operations of the plain form, device and
threads stand in `extra_info`.
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from cdfss_bench.bench.allocator import keep_memory
from cdfss_bench.bench.cost import flops_of, probe
from cdfss_bench.bench.evaluate import FeatureStores, evaluate
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.base import Method
from cdfss_bench.methods.probe import built, seeded

pytestmark = pytest.mark.speed

SIZE, SHOTS = 128, 5
CARDS = [METHODS.card(name) for name in METHODS.names()]
HOSTS = [card.name for card in CARDS if card.kind in ("host", "control")] + ["loec"]
LEARNING = ["apm-s", "apm-m", "finetune", "ifa"]


def network(name: str) -> Method:
    return seeded(built(name)).eval()


def noted(benchmark: BenchmarkFixture, flops: int) -> None:
    benchmark.extra_info.update(
        flops=flops,
        device="cpu",
        threads=torch.get_num_threads(),
        allocator=keep_memory(),
        torch=torch.__version__,
    )


@pytest.mark.parametrize("name", HOSTS)
def test_encode(name: str, benchmark: BenchmarkFixture) -> None:
    plain = network(name)
    query, _, _ = probe(SHOTS, SIZE, "cpu")
    swift = plain.swift("cpu")
    with torch.no_grad():
        noted(benchmark, flops_of(lambda: plain.encode(query))[0])
        benchmark(swift.encode, query)


@pytest.mark.parametrize("name", HOSTS)
def test_match(name: str, benchmark: BenchmarkFixture) -> None:
    plain = network(name)
    query, supports, masks = probe(SHOTS, SIZE, "cpu")
    swift = plain.swift("cpu")
    with torch.no_grad():
        rows, shown = plain.encode(query), plain.encode(supports[0])
        noted(benchmark, flops_of(lambda: plain.match(rows, shown, masks))[0])
        rows, shown = swift.encode(query), swift.encode(supports[0])
        states = swift.condense(shown, masks[0])
        benchmark(lambda: swift.decide(swift.match_states(rows, states, shots=SHOTS), rows.size))


@pytest.mark.parametrize("name", LEARNING)
def test_adapt(name: str, benchmark: BenchmarkFixture) -> None:
    method = seeded(build(parse(name).in_miniature(), backbone="resnet-mini")).eval()
    _, supports, masks = probe(1, SIZE, "cpu")
    swift = method.swift("cpu")
    with torch.no_grad():
        shown = swift.encode(supports[0])

    def adapt() -> Method:
        return swift.adapt_encoded(shown, masks[0], rng=torch.Generator().manual_seed(0))

    noted(benchmark, flops_of(adapt)[0])
    benchmark.pedantic(adapt, rounds=3)


@pytest.mark.parametrize("name", ["prototype", "ssp", "loec", "hsnet", "patnet"])
def test_evaluator(name: str, benchmark: BenchmarkFixture) -> None:
    method, domain = network(name), open_domain("mini-chest")
    episodes = domain.episodes(SHOTS, 0, "patnet", 20).episodes
    keep_memory()

    def rows() -> int:
        stores = FeatureStores()
        return sum(len(found) for found, _ in evaluate(method, domain, episodes, stores=stores))

    noted(benchmark, 0)
    assert benchmark.pedantic(rows, rounds=3, warmup_rounds=1) == len(episodes)
