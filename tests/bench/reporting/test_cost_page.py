"""Costs as they are shown: who stands on which frontier, what is drawn, what is never compared."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.leaderboard import Leaderboard
from cdfss_bench.bench.comparison.pareto import frontier
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import BatchPart, CostPart
from cdfss_bench.bench.reporting.cost_table import cost_table, frontiers
from cdfss_bench.bench.reporting.html.document import as_html
from cdfss_bench.bench.reporting.html.provenance import provenance
from cdfss_bench.bench.reporting.leaderboard_table import text_table

from ...support.records import DOMAINS, write_cell
from ...support.shown import board_of, column, report

GIGA = 10**9
EPYC = {"cpu": "EPYC", "threads": 2}


def times(ms: float) -> dict[str, float]:
    return {"p50": ms, "p90": 1.5 * ms, "p99": 2 * ms, "runs": 20}


def cost(gflop: float, ms: float, **changes: Any) -> CostPart:
    latency = {"encode": times(ms / 4), "match": times(ms / 2), "episode": times(ms)}
    return CostPart(
        params=8_667_072,
        flops_encode=GIGA,
        flops_match=GIGA,
        flops_episode=round(gflop * GIGA),
        flops_query=round(gflop * GIGA) - GIGA,
        flops_support=GIGA,
        uncounted=["topk"],
        probe="p",
        latency_ms=latency,
        device="cpu",
        threads=2,
        peak_memory_mb=100,
    ).model_copy(update=changes)


def write_row(
    folder: Path, method: str, skill: float, paid: CostPart, domains: Any = DOMAINS, **more: Any
) -> None:
    more = {"environment": EPYC, **more}
    for domain in domains:
        write_cell(folder, method, domain, skill=skill, cost=paid, **more)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Five rows: cheap, better, dominated, learning at test, and one that chose on the target."""
    write_row(tmp_path, "prototype", 0.4, cost(10, 30))
    write_row(tmp_path, "patnet", 0.6, cost(20, 20, flops_published=35 * GIGA))
    write_row(tmp_path, "hsnet", 0.5, cost(30, 40, flops_published=30 * GIGA))
    learnt = cost(90, 900, flops_adapt=60 * GIGA, flops_fft=GIGA // 50)
    learnt.latency_ms["adapt"] = {**times(860), "runs": 1}
    write_row(tmp_path, "apm-m", 0.7, learnt, method__adaptation="episode")
    write_row(tmp_path, "chosen", 0.9, cost(5, 5), weights__selection="target-oracle")
    return tmp_path


def words(board: Leaderboard) -> dict[str, str]:
    return {key.label: found for key, found in frontiers(board).items()}


def test_a_frontier_is_what_nothing_cheaper_reaches() -> None:
    points = {"a": (1.0, 5.0), "b": (2.0, 5.0), "c": (2.0, 6.0), "d": (3.0, 5.5), "e": (9.0, 7.0)}
    assert frontier(points) == ["a", "c", "e"]
    assert frontier({"alone": (0.0, 0.0)}) == ["alone"]
    assert frontier({}) == []


def test_learning_is_paid_for_and_what_chose_on_the_target_stands_nowhere(results: Path) -> None:
    assert words(board_of(results)) == {
        "prototype": "FLOPs",  # slower and worse than patnet, but fewer operations
        "patnet": "FLOPs, time",
        "hsnet": "dominated",
        "apm-m": "FLOPs, time",
    }


def test_times_of_two_machines_are_never_compared(results: Path) -> None:
    gpu = cost(25, 1, device="NVIDIA H100", threads=0)
    write_row(results, "ssp", 0.3, gpu)
    write_row(results, "loec", 0.3, cost(25, 1, threads=8))
    found = words(board_of(results))
    # On their own machines they are the fastest, and everything else stays what it was.
    assert found["ssp"] == found["loec"] == "time"
    assert found["patnet"] == "FLOPs, time"
    table = cost_table(board_of(results))
    machines = [note for note in table.notes if re.match("[a-z]: ", note)]
    assert sorted(machines) == sorted(
        f"{sign}: {name}"
        for sign, name in zip(
            dict.fromkeys(column(table, "on").values()),
            dict.fromkeys(row.machine for s in board_of(results).sections() for row in s.rows),
            strict=True,
        )
    )
    assert {m[3:] for m in machines} == {"EPYC, 2 threads", "EPYC, 8 threads", "NVIDIA H100"}
    page = as_html(run_results(results))
    captions = re.findall(r"against time on ([^(]+) \(", page)
    assert sorted(captions) == ["EPYC, 2 threads", "EPYC, 8 threads", "NVIDIA H100"]
    charts = re.findall(r"against time on EPYC, 2 threads.*?</figure>", page, re.S)
    assert "<title>patnet: " in charts[0]
    assert "<title>ssp: " not in charts[0]


def test_a_mean_is_wanted_unless_there_is_one_domain_only(tmp_path: Path) -> None:
    write_row(tmp_path, "ssp", 0.5, cost(10, 10), ["isic"])
    write_row(tmp_path, "hsnet", 0.4, cost(20, 20), ["isic"])
    assert words(board_of(tmp_path)) == {"ssp": "FLOPs, time", "hsnet": "dominated"}
    assert "mIoU on isic against operations" in as_html(run_results(tmp_path))
    write_row(tmp_path, "ssp", 0.5, cost(10, 10), ["chestxray"])
    # hsnet has no mean now, and is compared with nobody.
    assert words(board_of(tmp_path)) == {"ssp": "FLOPs, time"}


def test_the_table_says_what_is_known_and_leaves_out_what_no_row_has(results: Path) -> None:
    table = cost_table(board_of(results))
    assert column(table, "as published")["patnet"] == "35.00"
    assert column(table, "as published")["hsnet"] == "30.00"
    assert column(table, "as published")["prototype"] == "–"
    assert column(table, "FFT")["apm-m"] == "0.0200"
    assert column(table, "FFT")["hsnet"] == "–"
    assert column(table, "adaptation")["apm-m"] == "60.00"
    assert column(table, "GFLOP query")["patnet"] == "19.00"
    assert column(table, "episode ms")["patnet"] == "20.0 [30.0, 40.0]"
    assert column(table, "adapt ms")["apm-m"] == "860"
    assert column(table, "frontier")["chosen"] == "–"
    assert "best batch" not in table.headers
    assert any(note.startswith("not counted: topk (") for note in table.notes)
    (board,) = [board_of(results)]
    plain = [key for key in board.rows if key.label not in ("patnet", "apm-m")]
    board.rows = {key: board.rows[key] for key in plain}
    # What is published and what is computed are the same number here.
    for shown in (cost_table(board), text_table(board)):
        assert not {"FFT", "as published", "adapt ms", "adaptation"} & set(shown.headers)


def test_memory_that_a_system_does_not_tell_is_left_open(tmp_path: Path) -> None:
    write_row(tmp_path, "ssp", 0.5, cost(10, 2, peak_memory_mb=0))
    assert column(cost_table(board_of(tmp_path)), "MiB")["ssp"] == "–"


def test_the_best_batch_of_an_accelerator_is_shown(tmp_path: Path) -> None:
    batch = BatchPart(
        episodes=16, latency_ms={"episode": times(8)}, episodes_per_second=2000, peak_memory_mb=900
    )
    paid = cost(10, 2, device="NVIDIA H100", threads=0, best_batch=batch)
    write_row(tmp_path, "ssp", 0.5, paid)
    table = cost_table(board_of(tmp_path))
    assert column(table, "best batch")["ssp"] == "16 (2000.0 episodes/s)"


def test_the_leaderboard_has_both_figures_where_they_differ(results: Path) -> None:
    table = text_table(board_of(results))
    assert (column(table, "GFLOP")["patnet"], column(table, "as published")["patnet"]) == (
        "20.00",
        "35.00",
    )
    assert column(table, "FFT")["apm-m"] == "0.0200"
    widths = {len(cells) for cells in table.rows}
    assert widths == {len(table.headers)}
    said = {note.partition(":")[0] for note in table.notes}
    assert {"as published", "FFT"} <= said


def test_the_page_draws_frontier_dominated_learning_and_published(results: Path) -> None:
    page = as_html(run_results(results))
    flops = re.findall(r"against operations.*?</figure>", page, re.S)[0]
    path = re.findall(r'<polyline class="front" points="([^"]+)"', flops)[0]
    assert len(path.split()) == 3
    assert len(re.findall(r'<circle class="c\d+ pale"', flops)) == 2  # hsnet and the oracle
    assert len(re.findall(r'<path class="c\d+"', flops)) == 1  # apm-m
    assert re.findall(r"<title>([^<]+) as published: 35", flops) == ["patnet"]
    assert "transforms 0.02 besides" in flops
    timed = re.findall(r"against time on.*?</figure>", page, re.S)[0]
    assert "as published" not in timed
    assert page.count('<h3 id="cost0-0">') == page.count('href="#cost0-0"') == 1
    origins = {
        values["method"]: values["cost"] for values in provenance(run_results(results)).values()
    }
    patnet = next(text for name, text in origins.items() if name.startswith("patnet"))
    assert "20,000,000,000 operations (35,000,000,000 as published)" in patnet
    apm = next(text for name, text in origins.items() if name.startswith("apm"))
    assert "20,000,000 in transforms besides" in apm
    assert "not counted: topk" in apm


def test_a_report_of_costs_from_the_command_line(results: Path) -> None:
    assert "dominated" in report(results, "--cost")
    assert "| as published |" in report(results, "--cost", "-f", "md")
    assert "as published" in report(results, "--cost", "-f", "latex")
    exported = io.StringIO(report(results, "--cost", "-f", "csv"))
    lines = {line["label"]: line for line in csv.DictReader(exported)}
    assert len(lines) == 5
    assert lines["patnet"]["flops_published"] == "35000000000"
    assert lines["prototype"]["flops_published"] == ""
    assert lines["apm-m"]["adapt_ms_runs"] == "1.0"
    assert lines["apm-m"]["flops_fft"] == "20000000"
    objects = {line["label"]: line for line in json.loads(report(results, "--cost", "-f", "json"))}
    assert objects["hsnet"]["episode_ms_p99"] == 80
    assert objects["hsnet"]["frontier"] == "dominated"
    assert objects["hsnet"]["machine"] == "EPYC, 2 threads"


def test_records_of_before_are_shown_as_far_as_they_go(results: Path) -> None:
    values = cost(40, 50).model_dump()
    for newer in ("flops_query", "flops_support", "flops_fft", "flops_published", "threads"):
        del values[newer]
    del values["best_batch"]
    values["latency_ms"] = {"episode": {"p50": 50, "p90": 51, "p99": 52}}
    old = CostPart.model_validate(values)
    write_row(results, "ssp", 0.45, old, environment={"cpu": "EPYC", "threads": 1})
    table = cost_table(board_of(results))
    assert column(table, "GFLOP query")["ssp"] == "–"
    assert column(table, "encode ms")["ssp"] == "–"
    assert column(table, "episode ms")["ssp"] == "50.0 [51.0, 52.0]"
    assert column(table, "frontier")["ssp"] == "time"
    assert any(note.endswith("EPYC, 1 thread") for note in table.notes)
