"""Records: what is finished stays, what is torn is corrected, what is refused says why."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench import open_domain
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.cell_folder import CellFolder
from cdfss_bench.bench.records.schema import CostPart, read_record, read_runs

from ...support.program import PROGRAM
from ...support.records import COST

Run = Callable[..., list[Outcome]]


def folder_of(results: Path) -> CellFolder:
    (path,) = (results / "runs").glob("*/*/*")
    return CellFolder(path)


def test_a_complete_cell_is_a_no_op(run_mini: Run, tmp_path: Path) -> None:
    first = run_mini(methods=["ssp"], domains=["mini-chest"])
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    second = run_mini(methods=["ssp"], domains=["mini-chest"])
    assert [o.how for o in (*first, *second)] == ["computed", "known"]
    unchanged = {p: t for p, t in before.items() if "results" in p.parts and p.name != ".lock"}
    assert all(p.stat().st_mtime_ns == t for p, t in unchanged.items())


@pytest.mark.parametrize("damage", ["missing", "torn", "changed", "another"])
def test_the_manifest_of_a_finished_cell_is_written_again(
    damage: str, run_mini: Run, tmp_path: Path
) -> None:
    run_mini(methods=["all-foreground"], domains=["mini-chest"])
    cell = folder_of(tmp_path / "results")
    whole = cell.manifest.read_bytes()
    if damage == "missing":
        cell.manifest.unlink()
    elif damage == "torn":
        cell.manifest.write_bytes(whole[:100])
    elif damage == "changed":
        cell.manifest.write_bytes(whole.replace(b'"seed":0', b'"seed":1'))
    else:
        open_domain("mini-chest").episodes(shots=5, length=3).save(cell.manifest)
    assert cell.manifest.is_file() is (damage != "missing")
    assert not cell.manifest.is_file() or cell.manifest.read_bytes() != whole
    (outcome,) = run_mini(methods=["all-foreground"], domains=["mini-chest"])
    assert outcome.how == "known"
    assert cell.manifest.read_bytes() == whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"inter":', '"inter":-', 1),
        lambda text: text.replace("mini", "tiny", 1) if "mini" in text else text[10:],
        lambda text: "\x00\xff" + text,
        lambda text: "",
    ],
)
def test_damaged_rows_are_computed_again(
    damage: Callable[[str], str], run_mini: Run, tmp_path: Path
) -> None:
    run_mini(methods=["prototype"], domains=["mini-lesion"])
    cell = folder_of(tmp_path / "results")
    whole = cell.rows.read_bytes()
    cell.rows.write_text(damage(whole.decode()), encoding="utf-8", errors="surrogateescape")
    (outcome,) = run_mini(methods=["prototype"], domains=["mini-lesion"])
    assert outcome.how in ("resumed", "computed")
    assert cell.rows.read_bytes() == whole


def test_an_unreadable_record_is_computed_again(run_mini: Run, tmp_path: Path) -> None:
    run_mini(methods=["prototype"], domains=["mini-lesion"])
    cell = folder_of(tmp_path / "results")
    cell.record.write_text("{")
    (outcome,) = run_mini(methods=["prototype"], domains=["mini-lesion"])
    assert outcome.how == "resumed"
    assert read_record(cell.record).status == "done"


def test_the_record_says_everything(run_mini: Run) -> None:
    (outcome,) = run_mini(methods=["loec[lcm.k=5]"], domains=["mini-chest"], shots=[5], seeds=[3])
    record = outcome.record
    assert record is not None
    assert (record.status, record.episodes.seed, record.episodes.shots) == ("done", 3, 5)
    assert record.episodes.limited
    assert record.method.label == "loec[lcm.k=5]"
    assert record.method.composition == "ssp+lem+lcm[k=5]"
    assert record.method.given == {"lcm": {"k": 5}} or record.method.given == {"lcm": {"k": "5"}}
    assert record.method.options["lcm"]["k"] == 5
    assert record.weights.selection == "none"
    assert len(record.weights.pretrained_sha256) == 64
    assert record.metrics is not None
    assert record.metrics.episodes == 6
    for value in (record.cell, record.episodes.sha256, record.domain.fingerprint):
        assert len(value) == 64


def test_what_can_change_a_number_changes_the_cell(run_mini: Run) -> None:
    selections = [
        {"methods": ["ssp"]},
        {"methods": ["ssp+lcm"]},
        {"methods": ["ssp+lcm[k=4]"]},
        {"methods": ["ssp"], "seeds": [1]},
        {"methods": ["ssp"], "shots": [2]},
        {"methods": ["ssp"], "protocol": "strict"},
        {"methods": ["ssp"], "episodes": 5},
        {"methods": ["ssp@shuffled-support"]},
    ]
    cells: list[str] = []
    for selection in selections:
        (outcome,) = run_mini(domains=["mini-lesion"], **selection)
        assert outcome.record is not None
        cells.append(outcome.record.cell)
    assert len(set(cells)) == len(selections)


def test_refusals_are_recorded_and_the_rest_goes_on(run_mini: Run, tmp_path: Path) -> None:
    outcomes = run_mini(
        methods=["prototype@shuffled-support"], domains=["mini-chest", "mini-lesion"]
    )
    assert [o.how for o in outcomes] == ["refused", "computed"]
    records = {r.domain.name: r for _, r in read_runs(tmp_path / "results")}
    assert "one class" in records["mini-chest"].reason
    assert records["mini-lesion"].status == "done"


def test_a_second_process_waits_its_turn(run_mini: Run, tmp_path: Path) -> None:
    run_mini(methods=["prototype"], domains=["mini-lesion"])
    cell = folder_of(tmp_path / "results")
    cell.rows.unlink()
    with cell.lock():
        (outcome,) = run_mini(methods=["prototype"], domains=["mini-lesion"])
    assert outcome.how == "busy"
    assert "another process" in outcome.detail


def command(
    results: Path, weights: Path, cache: Path, episodes: int
) -> tuple[list[str], dict[str, str]]:
    arguments = (
        f"run -m ssp -d mini-lesion -k 5 --episodes {episodes} --batch 1 --no-cost --device cpu"
    )
    environment = {
        **os.environ,
        "CDFSS_RESULTS": str(results),
        "CDFSS_WEIGHTS": str(weights),
        "CDFSS_CACHE": str(cache),
    }
    return [PROGRAM, *arguments.split()], environment


def test_kill_9_loses_nothing_and_leaves_no_trace(seeded_weights: Path, tmp_path: Path) -> None:
    results, undisturbed, cache = (tmp_path / name for name in ("killed", "undisturbed", "cache"))
    episodes = 60
    arguments, environment = command(undisturbed, seeded_weights, cache, episodes)
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
    arguments, environment = command(results, seeded_weights, cache, episodes)
    survived = 0
    for wanted in (5, 25):
        process = subprocess.Popen(
            arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            rows = list((results / "runs").glob("*/*/*/episodes.jsonl"))
            if rows and rows[0].read_bytes().count(b"\n") >= wanted:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        known = folder_of(results).rows.read_bytes().count(b"\n")
        assert known >= max(wanted, survived)
        survived = known
    assert survived < episodes, "the run was over before it could be killed"
    assert read_record(folder_of(results).record).status == "started"
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
    killed, calm = folder_of(results), folder_of(undisturbed)
    assert killed.rows.read_bytes() == calm.rows.read_bytes()
    records = [json.loads(folder.record.read_text()) for folder in (killed, calm)]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["cell"] == records[1]["cell"]


@pytest.mark.parametrize(
    "order",
    [
        [["ssp", "ssp@shuffled-support"]],
        [["ssp@shuffled-support", "ssp"]],
        [["ssp"], ["ssp@shuffled-support"]],  # two commands: the host's record is on the disk
    ],
)
def test_a_control_is_never_measured_beside_its_host(
    order: list[list[str]],
    seeded_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[int] = []

    def cost_of(*_: object, **__: object) -> CostPart:
        measured.append(1)
        return COST

    monkeypatch.setattr("cdfss_bench.bench.evaluation.cell_cost.cost_of", cost_of)
    for methods in order:
        selection = Selection(
            methods=tuple(methods), suite="mini", domains=("mini-lesion",), episodes=2,
            weights_dirs=(seeded_weights,),
        )  # fmt: skip
        outcomes = list(Runner(tmp_path).run(plan(selection)))
        assert [o.record.cost for o in outcomes if o.record] == [COST] * len(methods)
    assert len(measured) == 1
