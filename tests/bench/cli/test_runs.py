"""`runs`: records are listed, told apart, and removed where that is asked for twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.comparison.removable import prunable
from cdfss_bench.bench.records.cell_folder import CellFolder
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import record_paths
from cdfss_bench.errors import UserError

from ...support.contract import as_a
from ...support.records import write_cell

OLD: dict[str, Any] = {"method__code": "older", "finished": "2026-01-01T00:00:00+00:00"}
NEW: dict[str, Any] = {"finished": "2026-02-01T00:00:00+00:00"}


def typed(results: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--results", str(results)])


def mistake(results: Path, *words: str) -> UserError:
    return as_a(UserError, typed(results, *words).exception)


def cells(results: Path) -> set[str]:
    return {json.loads(path.read_text())["cell"] for path in record_paths(results)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_cell(tmp_path, "ssp", skill=0.4, **OLD)
    write_cell(tmp_path, "ssp", skill=0.6, **NEW)
    return tmp_path


def versions(results: Path) -> list[str]:
    """Of `ssp`, the older first."""
    listed = json.loads(typed(results, "list", "runs", "ssp", "--json").stdout)
    return [run["version"] for run in sorted(listed, key=lambda run: run["finished"])]


def test_without_a_verb_runs_are_listed(results: Path) -> None:
    assert typed(results, "runs").stdout == typed(results, "list", "runs").stdout
    old, new = versions(results)
    assert old != new


def test_records_are_not_compared_with_themselves(results: Path) -> None:
    new = versions(results)[1]
    for other in ("ssp", f"ssp:{new}"):
        error = mistake(results, "compare", "ssp", other)
        assert error.problem == f"ssp and {other} are the same records"
        assert "NAME:HASH" in (error.hint or "")


def test_before_and_after_an_edit_are_compared(results: Path) -> None:
    old, new = versions(results)
    done = typed(results, "compare", f"ssp:{new}", f"ssp:{old}")
    assert done.exit_code == 0, done.output
    assert f"A = ssp:{new}, B = ssp:{old}" in done.stdout
    assert "A is better" in done.stdout
    assert f"ssp:{old} (resnet50, trained on pascal, 2026-01-01 00:00)" in done.stdout
    assert f"did you mean {new}?" in str(
        mistake(results, "compare", f"ssp:{new[:-1]}0f", "ssp").hint
    )


def test_rows_of_one_label_are_told_apart_and_taken_by_hash_or_age(tmp_path: Path) -> None:
    for sha256, day in (("a" * 64, "01"), ("b" * 64, "02")):
        when = f"2026-01-{day}T00:00:00+00:00"
        write_cell(tmp_path, "ssp", weights__checkpoint_sha256=sha256, finished=when)
    write_cell(tmp_path, "loec")
    old, new = versions(tmp_path)
    board = typed(tmp_path, "report", "-f", "csv").stdout
    assert f"ssp:{old}," in board
    assert f"ssp:{new}," in board
    assert "loec," in board, "a label of its own stays as it is"
    error = mistake(tmp_path, "compare", "ssp", "loec")
    assert f"ssp:{new} (" in error.problem
    assert "--latest" in str(error.hint)
    for words in ((f"ssp:{new}", "loec"), ("ssp", "loec", "--latest")):
        assert typed(tmp_path, "compare", *words).exit_code == 0
    latest = typed(tmp_path, "report", "--latest", "-f", "csv").stdout
    assert old not in latest
    assert "ssp," in latest


def test_what_is_pruned_is_shown_first_and_its_empty_folders_go(results: Path) -> None:
    write_cell(results, "hsnet", "fss1000", status="interrupted", reason="stopped by hand")
    before = cells(results)
    told = typed(results, "runs", "prune")
    assert told.exit_code == 0, told.output
    assert "another is shown in its place" in told.stdout
    assert "interrupted: stopped by hand" in told.stdout
    assert "nothing was removed" in told.stderr
    assert cells(results) == before
    done = typed(results, "runs", "prune", "--yes")
    assert "removed 2 records" in done.stderr
    assert len(cells(results)) == 1
    assert [p.name for p in (results / "runs").iterdir()] == ["isic-1shot"]
    assert "nothing to remove" in typed(results, "runs", "prune", "--yes").stderr


@pytest.mark.parametrize("status", ["refused", "interrupted", "started", "failed"])
def test_kinds_are_pruned_by_name(status: str, results: Path) -> None:
    write_cell(results, "hsnet", status=status)
    kind = "interrupted" if status == "started" else status
    (one,) = prunable(run_results(results), [kind])
    assert one.name.startswith("hsnet")
    assert one.reason.startswith(kind)
    usual = [each.name.partition(" ")[0] for each in prunable(run_results(results))]
    assert ("hsnet" in usual) == (status != "failed")


def test_an_unknown_kind_is_refused(results: Path) -> None:
    assert "unknown kind of record 'old'" in mistake(results, "runs", "prune", "old").problem


def test_a_cell_at_work_stays(results: Path) -> None:
    write_cell(results, "hsnet", status="started")
    (path,) = (p.parent for p in record_paths(results) if "hsnet" in str(p))
    with CellFolder(path).lock():
        assert prunable(run_results(results), ["interrupted"]) == []
        done = typed(results, "runs", "rm", "hsnet", "--yes")
        assert "a process works on it" in done.stderr
    assert path.is_dir()


@pytest.mark.parametrize("how", ["version", "cell", "folder", "pattern"])
def test_runs_are_removed_by_what_names_them(how: str, results: Path) -> None:
    old, _ = versions(results)
    listed = json.loads(typed(results, "runs", "--json").stdout)
    (run,) = (run for run in listed if run["version"] == old)
    which = {
        "version": f"ssp:{old}",
        "cell": Path(run["folder"]).name,
        "folder": run["folder"],
        "pattern": "s?p",
    }[how]
    assert "nothing was removed" in typed(results, "runs", "rm", which).stderr
    assert typed(results, "runs", "rm", which, "--yes").exit_code == 0
    assert len(cells(results)) == (0 if how == "pattern" else 1)
    assert not Path(run["folder"]).exists()


def test_options_of_the_selection_limit_what_is_removed(results: Path) -> None:
    write_cell(results, "ssp", "fss1000")
    typed(results, "runs", "rm", "ssp", "-d", "isic", "--yes")
    assert [p.name for p in (results / "runs").iterdir()] == ["fss1000-1shot"]


def test_a_damaged_record_is_removed_by_its_folder(results: Path) -> None:
    path = next(iter(record_paths(results)))
    path.write_text("{")
    done = typed(results, "runs")
    assert done.exit_code == 2
    assert "ssp" in done.stdout
    assert typed(results, "runs", "rm", str(path.parent), "--yes").exit_code == 0
    assert not path.parent.exists()


def test_nothing_outside_the_results_folder_is_removed(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_cell(other, "ssp")
    (path,) = (p.parent for p in record_paths(other))
    assert "is no run under" in mistake(results, "runs", "rm", str(path), "--yes").problem
    linked = results / "runs" / "isic-1shot" / "ssp" / "linked"
    linked.symlink_to(path)
    assert "is no run under" in mistake(results, "runs", "rm", str(linked), "--yes").problem
    assert (path / "run.json").is_file()


def test_files_that_no_run_wrote_are_kept_and_named(results: Path) -> None:
    path = next(iter(record_paths(results))).parent
    (path / ".run.json.x7_abc").write_text("begun")
    (path / "notes.txt").write_text("mine")
    (path / "figures").mkdir()
    (path / "figures" / "run.json").write_text("mine too")
    done = typed(results, "runs", "rm", "ssp", "--yes")
    assert done.exit_code == 0
    for name in ("notes.txt", "figures"):
        assert f"kept {path / name}, which no run wrote" in done.stderr
    runs = (results / "runs").rglob("*")
    left = {file.relative_to(results) for file in runs if file.is_file()}
    assert left == {(path / n).relative_to(results) for n in ("notes.txt", "figures/run.json")}


def test_a_refusal_goes_when_its_cell_is_done(tmp_path: Path) -> None:
    words = ["run", "-m", "ssp", "-d", "mini-lesion", "--no-cost", "--episodes"]

    def states() -> list[str]:
        listed = json.loads(typed(tmp_path, "runs", "--json").stdout)
        return sorted(f"{run['status']} {run['shots']}" for run in listed)

    assert (
        typed(tmp_path, *words, "1", "-k", "1", "-k", "2", "--weights", "none.pth").exit_code == 2
    )
    assert states() == ["refused 1", "refused 2"]
    assert typed(tmp_path, *words, "2", "-k", "1").exit_code == 0
    assert states() == ["done 1", "refused 2"]


def test_an_unknown_run_is_named(results: Path) -> None:
    error = mistake(results, "runs", "rm", "hsnet", "--yes")
    assert "unknown run 'hsnet'" in error.problem
    assert error.hint == "known are: ssp"


def test_records_of_fewer_episodes_are_told_from_whole_ones(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", episodes__limited=True, skill=0.4)
    write_cell(tmp_path, "ssp", skill=0.6)
    listed = json.loads(typed(tmp_path, "runs", "--json").stdout)
    assert [run["limited"] for run in listed] == [False, True]
    count = listed[1]["episodes"]
    shown = typed(tmp_path, "runs", "--wide").stdout
    assert shown.count(f"first {count}") == 1
    going = typed(tmp_path, "runs", "rm", "ssp").output
    assert going.count(f"first {count} episodes") == 1
