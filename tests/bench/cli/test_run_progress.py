"""What a run says before and while it works."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cdfss_bench.bench.cli import progress as cli_progress
from cdfss_bench.bench.cli import run_progress, training_progress
from cdfss_bench.bench.cli.progress import PERIOD, duration
from cdfss_bench.bench.cli.run_progress import Meter, extent
from cdfss_bench.bench.planning.dry_run import Forecast


class Clock:
    """Time that passes only where a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def forecast(state: str, episodes: int, left: int, seconds: float | None) -> Forecast:
    return Forecast("a cell", state, episodes, left, seconds)


def cell(title: str, episodes: int, left: int) -> tuple[Any, Forecast]:
    return SimpleNamespace(title=title), forecast("to do", episodes, left, None)


def told(planned: Any, done: int, total: int) -> Any:
    return SimpleNamespace(planned=planned, done=done, total=total)


def over(planned: Any, how: str = "computed") -> Any:
    return SimpleNamespace(planned=planned, how=how)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3540, "59 min"), (3599, "1 h"),
        (12_000, "3 h 20 min"), (90_000, "25 h"),
    ],
)  # fmt: skip
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("forecasts", "line"),
    [
        (
            [forecast("to do", 600, 600, 90.0)],
            "1 cell, 600 episodes to compute; expected time 2 min",
        ),
        (
            [
                forecast("complete", 600, 0, 0.0),
                forecast("begun", 600, 400, 30.0),
                forecast("refused: no weights", 0, 0, 0.0),
                forecast("to do", 600, 600, None),
            ],
            (
                "4 cells (1 complete, 1 begun, 1 refused), 1,000 episodes to compute and 800 "
                "known; expected time 30 s, unknown for 1 of 4 cells"
            ),
        ),
        (
            [forecast("to do", 5, 5, None)],
            (
                "1 cell, 5 episodes to compute; expected time unknown, since nothing alike was "
                "timed here"
            ),
        ),
        (
            [forecast("complete", 5, 0, 0.0)],
            "1 cell (1 complete), 0 episodes to compute and 5 known",
        ),
    ],
)
def test_a_run_begins_with_its_extent_in_one_line(forecasts: list[Forecast], line: str) -> None:
    assert extent(forecasts) == line


def test_the_time_of_several_processes_is_that_of_one() -> None:
    assert extent([forecast("to do", 6, 6, 9.0)], jobs=2).endswith("time 9 s in one process")


def test_resumed_episodes_are_no_speed() -> None:
    clock = Clock()
    cells = [cell("a", 100, 20), cell("b", 100, 100)]
    meter = Meter(cells, clock)
    (a, _), (b, _) = cells
    assert (meter.done, meter.left, meter.rate) == (80, 120, None)
    meter.listen(told(a, 80, 100))
    clock.now += 10
    assert meter.rate is None
    meter.listen(told(a, 100, 100))
    assert (meter.done, meter.left, meter.rate) == (100, 100, 2.0)
    assert meter.time_left == "50 s left"
    meter.finished(over(a))
    meter.listen(told(b, 0, 100))
    clock.now += 10
    meter.listen(told(b, 40, 100))
    assert meter.line() == "1 of 2 cells, 140 of 200 episodes, 3 episodes/s, 20 s left"


@pytest.mark.parametrize("how", ["failed", "refused", "busy"])
def test_episodes_of_a_cell_that_is_not_computed_are_no_work_left(how: str) -> None:
    cells = [cell("a", 100, 100), cell("b", 50, 50)]
    meter = Meter(cells, Clock())
    meter.listen(told(cells[0][0], 0, 100))
    meter.listen(told(cells[0][0], 30, 100))
    meter.finished(over(cells[0][0], how))
    meter.finished(over(cells[0][0], how))
    assert (meter.done, meter.left, meter.total) == (30, 50, 80)


def test_a_line_comes_every_thirty_seconds_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(run_progress.time, "monotonic", clock)
    cells = [cell("ssp · isic", 600, 600)]
    planned = cells[0][0]
    with run_progress.run_progress(cells, lambda _: "over") as (listen, finished):
        for second in range(100):
            clock.now = 1000.0 + second
            listen(told(planned, second, 600))
        finished(over(planned))
    lines = capsys.readouterr().err.splitlines()
    assert PERIOD == 30
    assert lines == [
        "0 of 1 cells, 30 of 600 episodes, 1 episodes/s, 10 min left (ssp · isic)",
        "0 of 1 cells, 60 of 600 episodes, 1 episodes/s, 9 min left (ssp · isic)",
        "0 of 1 cells, 90 of 600 episodes, 1 episodes/s, 8 min left (ssp · isic)",
        "over",
    ]


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 100 columns that keeps what is drawn."""
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(cli_progress, "err_console", lambda: console)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    return drawn


def test_the_bar_begins_with_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    cells = [cell("ssp[size=64] · isic", 600, 200)]
    with run_progress.run_progress(cells, lambda _: "over[x]") as (listen, finished):
        listen(told(cells[0][0], 400, 600))
        listen(told(cells[0][0], 401, 600))
        finished(over(cells[0][0]))
    text = screen.getvalue()
    assert "400/600" in text
    assert "over[x]" in text
    assert "600/600" in text


def test_a_resumed_training_counts_no_speed_for_what_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = terminal(monkeypatch)
    made: list[Any] = []
    real = cli_progress.bar
    monkeypatch.setattr(training_progress, "bar", lambda: made.append(real()) or made[0])
    with training_progress.progress("steps") as tell:
        tell(500, 1000, 0.5)
        assert made[0].tasks[0].completed == 500
        assert made[0].tasks[0].speed is None
    assert "500/1000" in screen.getvalue()


def test_a_slow_training_tells_every_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(training_progress.time, "perf_counter", clock)
    with training_progress.progress("steps") as tell:
        for step in range(1, 100):
            clock.now += 1
            tell(step, 10_000, 0.5)
    assert capsys.readouterr().err.splitlines() == [
        "30 of 10000 steps, loss 0.500, 2 h 46 min left",
        "60 of 10000 steps, loss 0.500, 2 h 46 min left",
        "90 of 10000 steps, loss 0.500, 2 h 45 min left",
    ]
