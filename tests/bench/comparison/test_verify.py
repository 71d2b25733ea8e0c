"""`verify` finds whatever was edited."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.records.cell_folder import CellFolder
from cdfss_bench.bench.records.schema import CostPart, RunRecord, read_record
from cdfss_bench.bench.statistics.summary import metrics_of

from ...support.records import record, write_cell
from ...support.shown import typed


@pytest.fixture
def cell(tmp_path: Path) -> CellFolder:
    """A small finished run, metrics and all as a run writes them."""
    write_cell(tmp_path, episodes=30)
    (path,) = tmp_path.rglob("run.json")
    folder = CellFolder(path.parent)
    from cdfss_bench.bench.records.cell_folder import parse_row

    rows = [row for line in folder.rows.read_text().splitlines() if (row := parse_row(line))]
    record = read_record(path)
    record.metrics = metrics_of(rows)
    record.save(path)
    return folder


def test_a_real_run_verifies(run_mini: Callable[..., list[Outcome]], tmp_path: Path) -> None:
    run_mini(methods=["prototype", "prototype@shuffled-support"], domains=["mini-lesion"])
    verdicts = [verify(path.parent) for path in (tmp_path / "results").rglob("run.json")]
    assert [v.problems for v in verdicts] == [(), ()]


def test_any_edited_digit_is_found(cell: CellFolder) -> None:
    assert verify(cell.path).problems == ()
    tried = 0
    for file in (cell.record, cell.rows, cell.manifest):
        whole = file.read_text()
        places = [m.start() for m in re.finditer(r"\d", whole)]
        for place in places[:: max(1, len(places) // 60)]:
            digit = "7" if whole[place] != "7" else "3"
            file.write_text(whole[:place] + digit + whole[place + 1 :])
            # A digit of a float that no float can tell apart is no edit.
            if file != cell.record or json.loads(file.read_text()) != json.loads(whole):
                assert verify(cell.path).problems, f"{file.name}, character {place}"
                tried += 1
        file.write_text(whole)
    assert tried > 150
    assert verify(cell.path).problems == ()


def sealed_with(change: Callable[[dict[str, Any]], None], cell: CellFolder) -> tuple[str, ...]:
    """What is said of a record that was edited by somebody who knows how to seal it."""
    values = json.loads(cell.record.read_text())
    change(values)
    RunRecord.model_validate(values).save(cell.record)
    return verify(cell.path).problems


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["metrics"].update(miou=v["metrics"]["miou"] + 0.01), "'miou' is"),
        (lambda v: v["metrics"].update(fb_iou=60.5), "'fb_iou' is"),
        (lambda v: v["metrics"].update(macro_iou=60.5), "'macro_iou' is"),
        (lambda v: v["metrics"].update(episodes=31), "'episodes' is"),
        (lambda v: v["metrics"]["per_class"].update({"1": 1.0}), "'per_class' is not"),
        (lambda v: v["metrics"]["per_class"].update({"9": 1.0}), "other classes"),
        (lambda v: v["metrics"].update(miou_interval=[1, 99]), "'miou_interval' is"),
        (lambda v: v["metrics"].update(miou_interval=None), "'miou_interval' is"),
        (lambda v: v.update(metrics=None), "holds no metrics"),
        (lambda v: v["episodes"].update(sha256="0" * 64), "disagree on 'sha256'"),
        (lambda v: v["episodes"].update(seed=3), "disagree on 'seed'"),
        (lambda v: v["episodes"].update(count=600), "says 600 episodes"),
        (lambda v: v["episodes"].update(rows_sha256=""), "its sha256 is another"),
        (lambda v: v["domain"].update(fingerprint="a" * 64), "disagree on 'fingerprint'"),
        (lambda v: v["evaluator"].update(image_size=128), "contradict each other"),
        (lambda v: v.update(cell="a" * 64), "the folder should be"),
        (lambda v: v["method"].update(label="loec"), "the folder should be"),
    ],
)
def test_a_new_seal_does_not_hide_what_the_rows_contradict(
    change: Callable[[dict[str, Any]], None], sentence: str, cell: CellFolder
) -> None:
    assert any(sentence in problem for problem in sealed_with(change, cell))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"inter":', '"inter":9', "contradict each other"),
        ('"class":0', '"class":1', "is not the one of the manifest"),
        ('"supports":["s0"]', '"supports":["s1"]', "is not the one of the manifest"),
        ('"episode":0', '"episode":99', "in order"),
        ('{"episode":0', '{ "episode":0', "not a row as the evaluator writes it"),
    ],
)
def test_rows_that_contradict_the_manifest_are_found(
    old: str, new: str, sentence: str, cell: CellFolder
) -> None:
    text = cell.rows.read_text()
    assert old in text
    cell.rows.write_text(text.replace(old, new, 1))
    assert any(sentence in problem for problem in verify(cell.path).problems)


@pytest.mark.parametrize("name", ["episodes.jsonl", "manifest.json"])
def test_a_missing_file_is_named(name: str, cell: CellFolder) -> None:
    (cell.path / name).unlink()
    assert any(name in problem for problem in verify(cell.path).problems)


def test_a_folder_that_was_moved_is_found(cell: CellFolder) -> None:
    other = cell.path.parent.parent / "loec" / cell.path.name
    shutil.copytree(cell.path, other)
    assert "the folder should be isic-1shot/ssp/" in verify(other).problems[0]


def test_from_the_command_line(cell: CellFolder, tmp_path: Path) -> None:
    fine = typed("verify", "--results", tmp_path)
    assert (fine.exit_code, fine.stdout) == (0, "")
    cell.rows.write_text(cell.rows.read_text().replace("1", "2", 1))
    wrong = typed("verify", cell.path, "--json")
    assert wrong.exit_code == 1
    assert json.loads(wrong.stdout)[0]["problems"]


def test_rows_whose_record_was_lost_are_named(cell: CellFolder, tmp_path: Path) -> None:
    write_cell(tmp_path, "loec", episodes=30)
    kept = next(path for path in tmp_path.rglob("run.json") if path != cell.record)
    empty = tmp_path / "runs/isic-1shot/ssp/begun"
    empty.mkdir(parents=True)
    (empty / "episodes.jsonl").touch()
    whole = cell.record.read_bytes()
    cell.record.unlink()
    done = typed("verify", "--results", tmp_path)
    assert done.exit_code == 1
    lost = [line for line in done.stdout.splitlines() if "rows without a run.json" in line]
    assert [line.split(":")[0] for line in lost] == [str(cell.path)]
    assert "1 record, 1 finished" in done.stderr
    told = json.loads(typed("verify", "--json", "--results", tmp_path).stdout)
    assert {Path(one["run"]) for one in told} == {kept.parent, cell.path}
    cell.record.write_bytes(whole)
    assert "rows without" not in typed("verify", "--results", tmp_path).stdout


def test_an_unfinished_record_is_checked_for_what_it_is(tmp_path: Path) -> None:
    refused = record(miou=None)
    folder = CellFolder.of(tmp_path, domain="isic", shots=1, label="ssp", cell=refused.cell)
    refused.save(folder.record)
    assert verify(folder.path).problems == ()


def test_an_unreadable_record_is_exit_code_2(cell: CellFolder) -> None:
    cell.record.write_text(cell.record.read_text()[:100])
    assert typed("verify", cell.path).exit_code == 2


NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1", "true", '"60"']


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", ["miou", "fb_iou", "macro_iou", "1", "episodes"])
def test_metrics_that_are_no_numbers_are_refused(value: str, key: str, cell: CellFolder) -> None:
    text = re.sub(rf'("{key}": )[0-9.]+', rf"\g<1>{value}", cell.record.read_text(), count=2)
    cell.record.write_text(text)
    done = typed("verify", cell.path)
    assert done.exit_code == 2, done.output
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", ["params", "flops_episode", "p50", "peak_memory_mb"])
def test_costs_that_are_no_numbers_are_refused(value: str, key: str, cell: CellFolder) -> None:
    kept = read_record(cell.record)
    kept.cost = CostPart(
        params=1, flops_encode=1, flops_match=1, flops_episode=1, uncounted=[], probe="",
        latency_ms={"episode": {"p50": 1.0, "p90": 1.0, "p99": 1.0}}, device="cpu",
        peak_memory_mb=1.0,
    )  # fmt: skip
    kept.save(cell.record)
    assert verify(cell.path).problems == ()
    text = re.sub(rf'("{key}": )[0-9.]+', rf"\g<1>{value}", cell.record.read_text())
    cell.record.write_text(text)
    assert typed("verify", cell.path).exit_code == 2


def test_intervals_that_are_no_numbers_are_refused(cell: CellFolder) -> None:
    values = json.loads(cell.record.read_text())
    values["metrics"]["miou_interval"] = [float("nan"), 50.0]
    cell.record.write_text(json.dumps(values))
    assert typed("verify", cell.path).exit_code == 2


@pytest.mark.parametrize("value", ["NaN", "-1.0", "true", '"1"', "1e999"])
def test_times_that_are_no_numbers_are_refused(value: str, cell: CellFolder) -> None:
    line = '{"episodes":[0],"load_ms":1.0,"crc32":0}\n{"episodes":[1],"lo'
    cell.timings.write_text(line)
    assert not verify(cell.path).unreadable
    cell.timings.write_text(line.replace("1.0", value))
    done = typed("verify", cell.path)
    assert done.exit_code == 2
    assert "timings.jsonl, line 1" in done.stdout


def test_a_record_is_not_written_with_what_is_no_number(cell: CellFolder) -> None:
    values = read_record(cell.record)
    assert values.metrics is not None
    values.metrics.miou = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        values.save(cell.record)
    assert verify(cell.path).problems == ()
