"""What the parts of every method cost, for comparison between commits.

    pytest tests/benchmarks -m speed --benchmark-autosave
    pytest-benchmark compare

Networks are the mini suite's with drawn parameters; in the evaluator what learns takes two steps.
Operations of the plain form (`flops`, transforms apart as `fft`), device and threads stand in
`extra_info`.
"""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from cdfss_bench.bench.cost.flops import Operations, operations_of, summed
from cdfss_bench.bench.cost.profile import probe
from cdfss_bench.bench.evaluation.evaluator import evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.conformance.probe import built, seeded
from cdfss_bench.methods.core.method import Method

pytestmark = pytest.mark.speed

SIZE, SHOTS = 128, 5
CARDS = [METHODS.card(name) for name in METHODS.names()]
HOSTS = [card.name for card in CARDS if card.kind in ("host", "control")]
# Besides, what the cards name: aliases, and what a plug-in's bare name stands for.
NAMES = [*HOSTS, *(card.name for card in CARDS if card.composition or card.alone)]
LEARNING = [name for name in NAMES if parse(name).adaptation != "none"]
EPISODES = 20
LEARNED_EPISODES = 4


def network(name: str) -> Method:
    return seeded(built(name)).eval()


def noted(benchmark: BenchmarkFixture, operations: Operations) -> None:
    benchmark.extra_info.update(
        flops=operations.flops,
        fft=operations.fft,
        device="cpu",
        threads=torch.get_num_threads(),
        allocator=keep_memory(),
        torch=torch.__version__,
    )


@pytest.mark.parametrize("name", HOSTS)
def test_encode(name: str, benchmark: BenchmarkFixture) -> None:
    plain = network(name)
    query, _, _ = probe(SHOTS, SIZE, "cpu")
    optimized = plain.optimized_for("cpu")
    with torch.no_grad():
        noted(benchmark, operations_of(lambda: plain.encode(query)))
        benchmark(optimized.encode, query)


@pytest.mark.parametrize("name", NAMES)
def test_match(name: str, benchmark: BenchmarkFixture) -> None:
    plain = network(name)
    query, supports, masks = probe(SHOTS, SIZE, "cpu")
    optimized = plain.optimized_for("cpu")
    with torch.no_grad():
        rows, shown = plain.encode(query), plain.encode(supports[0])
        noted(benchmark, operations_of(lambda: plain.match(rows, shown, masks)))
        rows, shown = optimized.encode(query), optimized.encode(supports[0])
        states = optimized.encode_support(shown, masks[0])
        benchmark(
            lambda: optimized.decide(optimized.match_states(rows, states, shots=SHOTS), rows.size)
        )


def learning(method: Method, shots: int) -> Callable[[], Method]:
    """What makes `method` ready for the probe's episode, from features."""
    query, supports, masks = probe(shots, SIZE, "cpu")
    with torch.no_grad():
        shown, asked = method.encode(supports[0]), method.encode(query)
    given = asked if method.adaptation == "transductive" else None
    return lambda: method.adapt_encoded(
        shown, masks[0], rng=torch.Generator().manual_seed(0), query=given
    )


@pytest.mark.parametrize("name", LEARNING)
def test_adapt(name: str, benchmark: BenchmarkFixture) -> None:
    """All its steps, as many as the mini suite takes."""
    method = seeded(build(parse(name).in_miniature(), backbone="resnet-mini")).eval()
    noted(benchmark, operations_of(learning(method, 1)))
    benchmark.pedantic(learning(method.optimized_for("cpu"), 1), rounds=3)


@pytest.mark.parametrize("name", NAMES)
def test_evaluator(name: str, benchmark: BenchmarkFixture) -> None:
    """All episodes with their reuse; `flops` is of one of them with nothing cached."""
    method, domain = network(name), open_domain("mini-chest")
    learns = method.adaptation != "none"
    count = LEARNED_EPISODES if learns else EPISODES
    episodes = domain.episodes(SHOTS, 0, "patnet", count).episodes
    keep_memory()

    def rows() -> int:
        stores = FeatureStores()
        return sum(len(found) for found, _ in evaluate(method, domain, episodes, stores=stores))

    with torch.no_grad():
        one = operations_of(lambda: method.predict(*probe(SHOTS, SIZE, "cpu")))
    learnt = [(1, operations_of(learning(method, SHOTS)))] if learns else []
    noted(benchmark, summed([(1, one), *learnt]))
    benchmark.extra_info["episodes"] = count
    assert benchmark.pedantic(rows, rounds=3, warmup_rounds=1) == len(episodes)
