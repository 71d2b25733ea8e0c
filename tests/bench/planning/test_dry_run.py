"""What `--dry-run` makes of planted timings."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.planning.dry_run import forecast, rates
from cdfss_bench.bench.planning.planned_cells import Planned, plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.boundary import Boundary
from cdfss_bench.bench.records.cell_folder import CellFolder, parse_row
from cdfss_bench.bench.records.schema import record_paths
from cdfss_bench.bench.records.timings import Around, Spent, arounds, batches

Run = Callable[..., list[Outcome]]

PICTURE, EPISODE, BUILD, COST = 10.0, 1000.0, 1e5, 1e6
"""Seconds, each more than what is left of all smaller ones: a sum tells how often each is in it."""


def spent(episodes: int, encoded: int) -> Spent:
    seconds = {"load": 4.0 * encoded, "encode": 6.0 * encoded, "adapt": 0.0, "match": 0.0}
    return Spent(episodes, encoded, {**seconds, "match": 900.0 * episodes})


def test_rates_are_what_was_measured() -> None:
    cells = [Around(2, BUILD, COST, 200.0), Around(2, 0.0, 0.0, 200.0)]
    found = rates([spent(2, 4), spent(2, 0)], [spent(2, 4)], cells)
    assert found is not None
    assert (found.picture, found.episode) == (PICTURE, EPISODE)
    assert (found.build, found.cost) == (BUILD, COST)


def test_what_was_at_hand_says_nothing_of_what_it_takes() -> None:
    cells = [Around(2, 3.0, 0.0, 0.0), Around(2, 0.0, 0.0, 0.0), Around(2, 1.0, 0.0, 0.0)]
    found = rates([spent(2, 0)], [spent(2, 0)], cells)
    assert found is not None
    assert (found.picture, found.build, found.cost) == (0.0, 2.0, 0.0)


def test_without_an_episode_nothing_is_known() -> None:
    assert rates([], [], []) is None


def test_a_run_leaves_what_its_cells_took(run_mini: Run, tmp_path: Path) -> None:
    run_mini(methods=["ssp"], domains=["mini-chest"], shots=[1, 5], seeds=[0])
    found = {
        path.parents[2].name: next(arounds(CellFolder(path.parent).timings))
        for path in record_paths(tmp_path / "results")
    }
    one, five = found["mini-chest-1shot"], found["mini-chest-5shot"]
    assert (one.episodes, five.episodes) == (6, 6)
    assert one.build > five.build, "the second cell has the network of the first"
    assert min(one.rest, five.rest) > 0
    assert one.cost < 1e-3


def planted(results: Path) -> None:
    """Overwrites all timings by round numbers."""
    for path in record_paths(results):
        timings = CellFolder(path.parent).timings
        known = list(batches(timings))
        count, encoded = sum(s.episodes for s in known), sum(s.encoded for s in known)
        one = {"load_ms": 4000 * encoded, "encode_ms": 6000 * encoded, "adapt_ms": 0}
        batch = {"episodes": list(range(count)), "encoded": encoded, **one}
        timings.write_text(
            json.dumps({**batch, "match_ms": 900_000 * count})
            + "\n"
            + Around(count, BUILD, COST, 100.0 * count).to_line()
            + "\n"
        )


def cells_of(weights: Path, **selected: object) -> list[Planned]:
    asked = {"methods": ["ssp"], "suite": "mini", "weights_dirs": (weights,), "episodes": 6}
    return list(plan(Selection.model_validate({**asked, **selected})))


def test_pictures_networks_and_costs_are_counted_once(
    run_mini: Run, seeded_weights: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    run_mini(methods=["ssp"], domains=["mini-chest", "mini-lesion"], shots=[1], seeds=[0])
    planted(results)
    cells = cells_of(seeded_weights, domains=["mini-chest", "mini-lesion"], seeds=[1, 2])
    images: list[set[str]] = []
    for planned in cells:
        assert planned.cell is not None
        domain = planned.cell.episode_set.domain
        images.append(
            {
                domain.item(e.class_id, name).image
                for e in planned.cell.episode_set.manifest.episodes
                for name in (e.query, *e.supports)
            }
        )
    assert images[1] & images[0], "the second seed asks for a picture of the first"
    found = forecast(cells, results)
    new = [images[0], images[1] - images[0], images[2], images[3] - images[2]]
    expected = [6 * EPISODE + PICTURE * len(own) for own in new]
    expected[0] += BUILD + COST
    assert [one.seconds for one in found] == [pytest.approx(e) for e in expected]
    cheap = forecast(cells, results, with_cost=False)
    assert cheap[0].seconds == pytest.approx(expected[0] - COST)


def test_other_shots_and_other_devices_are_unknown(
    run_mini: Run, seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_mini(methods=["ssp"], domains=["mini-chest"], shots=[1], seeds=[0])
    cells = cells_of(seeded_weights, domains=["mini-chest"], seeds=[0, 1], shots=[1, 5])
    found = forecast(cells, tmp_path / "results", with_cost=False)
    assert [one.seconds is None for one in found] == [False, False, True, True]
    assert (found[0].state, found[0].seconds) == ("complete", 0.0)
    monkeypatch.setattr("cdfss_bench.bench.planning.dry_run.device_name", lambda _device: "H100")
    found = forecast(cells, tmp_path / "results", with_cost=False)
    assert [one.seconds is None for one in found] == [False, True, True, True]


def test_a_finished_cell_without_the_boundary_measures_asked_for_is_begun(
    run_mini: Run, seeded_weights: Path, tmp_path: Path
) -> None:
    run_mini(methods=["ssp"], domains=["mini-chest"], shots=[1], seeds=[0])
    cells = cells_of(seeded_weights, domains=["mini-chest"], shots=[1])
    results = tmp_path / "results"

    def states(boundary: float | None) -> list[tuple[str, int]]:
        found = forecast(cells, results, with_cost=False, boundary=boundary)
        return [(one.state, one.left) for one in found]

    assert states(None) == [("complete", 0)]
    assert states(2.0) == [("begun", 6)]
    (path,) = record_paths(results)
    folder = CellFolder(path.parent)
    measures = Boundary(2.0, 1.0, 90.0, 80.0)
    rows = [row for line in folder.rows.read_text().splitlines() if (row := parse_row(line))]
    folder.keep_added([replace(row, boundary=measures) for row in rows[:2]])
    kept = sum(row.counts.union > row.counts.inter for row in rows[:2])  # others contradict it
    assert kept
    assert states(2.0) == [("begun", 6 - kept)]
    assert states(3.0) == [("begun", 6)]
