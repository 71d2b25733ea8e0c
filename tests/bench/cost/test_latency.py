"""How time is taken: what counts as a run, when it is enough, which batch is the best."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.cost.latency import (
    OwnTime,
    added,
    at_most,
    best_batch,
    latency,
    percentiles,
    single,
)
from cdfss_bench.bench.cost.profile import cost_of, probe
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.cost_table import cost_lines, cost_table
from cdfss_bench.bench.reporting.export import as_csv, score_lines
from cdfss_bench.bench.reporting.html.document import as_html
from cdfss_bench.bench.reporting.latex import as_latex
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.number_format import milliseconds
from cdfss_bench.methods import build
from cdfss_bench.methods.conformance.probe import seeded

from ...support.records import COST, record, write_cell


def test_percentiles_are_of_the_runs() -> None:
    found = percentiles([float(ms) for ms in range(101)])
    assert found == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "runs": 101}


def test_long_work_runs_three_times_and_short_work_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def taking(seconds: float) -> Callable[[], None]:
        def work() -> None:
            clock[0] += seconds

        return work

    slow = latency(taking(0.15), "cpu")
    assert slow == {"p50": 150, "p90": 150, "p99": 150, "runs": 3}
    quick = latency(taking(0.004), "cpu")
    assert (quick["p50"], quick["p99"]) == (4, 4)
    assert quick["runs"] >= 50


def test_a_cpu_is_timed_with_the_threads_that_are_set() -> None:
    seen: set[int] = set()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        latency(lambda: seen.add(torch.get_num_threads()), "cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {2}


def test_learning_is_one_run_on_top_of_every_percentile() -> None:
    once = single(lambda: time.sleep(0.01), "cpu")
    assert once["p50"] == once["p99"] >= 10
    assert once["runs"] == 1
    episode = percentiles([1.0, 2.0, 3.0])
    whole = added(episode, {**episode, "p50": 100.0, "runs": 1})
    assert (whole["p50"], whole["runs"]) == (102.0, 1)
    assert whole["p99"] - whole["p50"] == pytest.approx(episode["p99"] - episode["p50"])


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ([10, 19, 30, 31, 20], 8),
        ([10, 19, 30, 30.5, 60], 4),  # the fourth pays less than 3 %: nobody asks for the fifth
        ([10, 9], 1),
        ([10, 20, None], 2),
        ([None], 1),
        ([1, 2, 4, 8, 16, 32, 64, 128], 64),
    ],
)
def test_the_best_batch_is_the_last_that_pays(rates: list[float | None], best: int) -> None:
    asked: list[int] = []

    def rate(size: int) -> float | None:
        asked.append(size)
        return rates[size.bit_length() - 1]

    assert best_batch(rate) == best
    assert asked == [2**i for i in range(len(asked))]
    assert max(asked) <= 64


@pytest.mark.parametrize(("room", "found"), [(64, 16), (16, 16), (5, 4), (1, 1)])
def test_what_does_not_fit_is_halved(room: int, found: int) -> None:
    def compute(size: int) -> int:
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    assert at_most(16, compute) == found


def test_where_not_even_one_fits_or_something_else_is_wrong_it_is_said() -> None:
    def hungry(_size: int) -> int:
        raise RuntimeError("not enough memory")

    def broken(_size: int) -> int:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="memory"):
        at_most(8, hungry)
    with pytest.raises(RuntimeError, match="shapes"):
        at_most(8, broken)


def test_a_batch_of_probes_is_the_probe_several_times() -> None:
    one, four = probe(2, 32, "cpu"), probe(2, 32, "cpu", episodes=4)
    for tensor, repeated in zip(one, four, strict=True):
        assert repeated.shape == (4, *tensor.shape[1:])
        assert torch.equal(repeated, tensor.expand_as(repeated))


def test_a_cpu_takes_episodes_one_by_one() -> None:
    cost = cost_of(seeded(build("ssp", backbone="resnet-mini")), shots=1, size=64, device="cpu")
    assert cost.best_batch is None
    assert (cost.device, cost.threads) == ("cpu", torch.get_num_threads())
    assert cost.cpu_share is not None
    assert 0 < cost.cpu_share <= 1
    for part in cost.latency_ms.values():
        assert 0 < part["p50"] <= part["p90"] <= part["p99"]
        assert part["runs"] >= 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_timed_by_its_own_clock_and_its_memory_from_zero() -> None:
    method = seeded(build("ssp", backbone="resnet-mini")).to("cuda").eval()
    waste = torch.zeros(64 << 20, device="cuda")  # 256 MiB, gone before anything is measured
    del waste
    held = torch.zeros(32 << 20, device="cuda")  # 128 MiB that is not the method's
    cost = cost_of(method, shots=1, size=128, device="cuda")
    assert cost.threads == 0
    assert 0 < cost.peak_memory_mb < held.nbytes / 2**20
    assert cost.best_batch is not None
    assert cost.best_batch.episodes >= 1
    rate = 1000 / cost.latency_ms["episode"]["p50"]
    assert cost.best_batch.episodes_per_second > 0.8 * rate
    # A matrix product that takes the device far longer than its launch.
    square = torch.randn(8192, 8192, device="cuda")
    assert latency(lambda: square @ square, "cuda")["p50"] > 5 * launch(square)


def launch(square: torch.Tensor) -> float:
    """Milliseconds until a launch returns."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    _ = square @ square
    spent = 1000 * (time.perf_counter() - began)
    torch.cuda.synchronize()
    return spent


@pytest.mark.parametrize(
    ("p90", "share", "shown"),
    [
        (15.0, 1.0, "10.0"),
        (20.0, None, "10.0"),
        (20.1, 1.0, "~10.0"),
        (11.0, 0.5, "~10.0"),  # another program had the processor half of the time
        (11.0, 0.85, "10.0"),
    ],
)
def test_a_time_is_a_plain_number_only_if_it_is_steady(
    p90: float, share: float | None, shown: str
) -> None:
    times = {"p50": 10.0, "p90": p90, "p99": 90.0}
    paid = COST.model_copy(update={"latency_ms": {"episode": times}, "cpu_share": share})
    assert milliseconds(paid) == shown
    (board,) = leaderboards([record("ssp", cost=paid)])
    scores, costs = text_table(board), cost_table(board)
    assert scores.rows[0][list(scores.headers).index("ms")] == shown
    assert costs.rows[0][list(costs.headers).index("episode ms")].startswith(shown)
    is_marked = shown.startswith("~")
    for table in (scores, costs):
        assert any(note.startswith("~ unsteady") for note in table.notes) == is_marked
    for text in map(as_csv, (score_lines([board]), cost_lines(board))):
        (line,) = csv.DictReader(io.StringIO(text))
        assert line["latency_stable"] == str(not is_marked)
    assert as_latex([scores]).count(r"\textasciitilde{}10.0") == is_marked


def test_the_page_marks_unsteady_times(tmp_path: Path) -> None:
    times = {"p50": 10.0, "p90": 50.0, "p99": 90.0}
    paid = COST.model_copy(update={"latency_ms": {"episode": times}})
    write_cell(tmp_path, "ssp", cost=paid)
    write_cell(tmp_path, "loec", cost=COST)
    page = as_html(run_results(tmp_path))
    assert "~ unsteady: ssp)" in page
    assert "~10.0 ms per episode" in page
    assert 'data-value="10.0"' in page


def test_a_busy_processor_is_seen() -> None:
    with OwnTime() as alone:
        began = time.thread_time()
        while time.thread_time() - began < 0.02:
            pass
    with OwnTime() as waiting:
        time.sleep(0.05)
    assert alone.share > waiting.share
    assert waiting.share < 0.5
