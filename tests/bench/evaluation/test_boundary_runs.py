"""Boundary measures through `run` and `score`: counts stay, what is missing is added."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.external import Statement, score
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.evaluation.saved_masks import SavedMasks
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.cell_folder import CellFolder, parse_row
from cdfss_bench.bench.records.schema import read_record, record_paths

FIELDS = {"hd95", "nsd", "boundary_iou", "nsd_tolerance"}


def run(results: Path, boundary: float | None = None, **options: Any) -> Outcome:
    selection = Selection.model_validate(
        {"suite": "mini", "domains": ("mini-lesion",), "episodes": 6, "methods": ("prototype",)}
    )
    settings = Settings(boundary=boundary)
    (outcome,) = Runner(results, settings, with_cost=False, **options).run(plan(selection))
    return outcome


def folder(results: Path, label: str = "prototype") -> CellFolder:
    (path,) = [path for path in record_paths(results) if path.parts[-3] == label]
    return CellFolder(path.parent)


def rows(results: Path, label: str = "prototype") -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder(results, label).rows.read_text().splitlines()]


def test_rows_hold_measures_where_they_are_asked_for_and_counts_stay(tmp_path: Path) -> None:
    run(tmp_path / "plain")
    run(tmp_path / "both", boundary=2.0)
    plain, both = rows(tmp_path / "plain"), rows(tmp_path / "both")
    assert not FIELDS & plain[0].keys()
    assert [{k: v for k, v in row.items() if k not in FIELDS} for row in both] == plain
    assert all(row.keys() >= FIELDS and row["nsd_tolerance"] == 2 for row in both)
    assert verify(folder(tmp_path / "both").path).problems == ()


def test_a_finished_cell_gets_what_is_missing_and_keeps_its_record(tmp_path: Path) -> None:
    first = run(tmp_path / "later")
    run(tmp_path / "once", boundary=2.0)
    again = run(tmp_path / "later", boundary=2.0)
    assert (first.how, again.how) == ("computed", "known")
    assert rows(tmp_path / "later") == rows(tmp_path / "once")
    assert first.record is not None
    assert again.record is not None
    assert again.record.metrics == first.record.metrics
    assert again.record.finished == first.record.finished
    assert verify(folder(tmp_path / "later").path).problems == ()
    # All is there, and a run that asks for none takes none away.
    stamp = folder(tmp_path / "later").rows.stat().st_mtime_ns
    run(tmp_path / "later", boundary=2.0)
    run(tmp_path / "later")
    assert folder(tmp_path / "later").rows.stat().st_mtime_ns == stamp
    run(tmp_path / "later", boundary=3.0)
    assert {row["nsd_tolerance"] for row in rows(tmp_path / "later")} == {3.0}


def test_additions_resume_and_the_old_record_is_valid_meanwhile(tmp_path: Path) -> None:
    def stop_at(number: int) -> Any:
        def listen(progress: Any) -> None:
            if progress.done == number:
                raise KeyboardInterrupt

        return listen

    run(tmp_path)
    before = folder(tmp_path).rows.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 2.0, listener=stop_at(4))
    assert folder(tmp_path).rows.read_bytes() == before
    assert verify(folder(tmp_path).path).problems == ()
    done: list[int] = []
    run(tmp_path, 2.0, listener=lambda progress: done.append(progress.done))
    assert done == [5, 6]
    assert all(row.keys() >= FIELDS for row in rows(tmp_path))
    assert not folder(tmp_path).added.exists()


def test_an_interrupted_run_measures_the_episodes_that_it_already_counted(tmp_path: Path) -> None:
    def listen(progress: Any) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, listener=listen)
    assert run(tmp_path, 2.0).how == "resumed"
    assert all(row.keys() >= FIELDS for row in rows(tmp_path))
    assert verify(folder(tmp_path).path).problems == ()


def test_measures_of_other_masks_than_the_record_counted_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    where = folder(tmp_path)
    known = [row for line in where.rows.read_text().splitlines() if (row := parse_row(line))]
    counts = known[2].counts
    moved = counts._replace(inter=counts.inter + 1, union_bg=counts.union_bg - 1)
    known[2] = replace(known[2], counts=moved)
    record = read_record(where.record)
    record.episodes.rows_sha256 = where.replace_rows(known)
    record.save(where.record)
    before = where.rows.read_bytes()
    outcome = run(tmp_path, 2.0)
    assert outcome.how == "refused"
    assert "1 masks have other pixel counts" in outcome.detail
    assert outcome.planned.hint is not None
    assert where.rows.read_bytes() == before


def test_scored_masks_have_the_measures_of_the_run_that_saved_them(tmp_path: Path) -> None:
    run(tmp_path / "r", 2.0, save_masks=SavedMasks(tmp_path / "m", one=True))
    statement = Statement("mine")
    score(tmp_path / "m", statement, tmp_path / "r")
    assert not FIELDS & rows(tmp_path / "r", "mine")[0].keys()
    assert score(tmp_path / "m", statement, tmp_path / "r", boundary=2.0).is_known
    ours, theirs = (folder(tmp_path / "r", label).rows for label in ("prototype", "mine"))
    assert ours.read_bytes() == theirs.read_bytes()
    score(tmp_path / "m", statement, tmp_path / "r")
    assert ours.read_bytes() == theirs.read_bytes()
    assert verify(theirs.parent).problems == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [("nsd", 101.0), ("hd95", -1.0), ("hd95", None), ("boundary_iou", "much"), ("nsd", 50)],
)
def test_damaged_measures_are_found_and_computed_again(
    field: str, value: object, tmp_path: Path
) -> None:
    run(tmp_path, 2.0)
    where = folder(tmp_path)
    whole = where.rows.read_bytes()
    changed = rows(tmp_path)
    next(row for row in changed if row["inter"])[field] = value
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in changed]
    where.rows.write_text("".join(f"{line}\n" for line in lines))
    problems = verify(where.path).problems
    assert any("boundary measures" in one or ", line " in one for one in problems), problems
    assert run(tmp_path, 2.0).how == "resumed"
    assert where.rows.read_bytes() == whole
