"""kill -9 at any moment: nothing that was finished is lost, and the end is as if nothing was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.records.cell_folder import parse_row
from cdfss_bench.bench.records.schema import read_record

from ..support import downloads
from . import works
from .children import finish, killed, measured, moments, start
from .conftest import Under, rows_of

MOMENTS = [6, pytest.param(200, marks=pytest.mark.long)]


def finished(results: Path) -> set[tuple[str, str]]:
    """Every whole row under a results folder, with the cell it belongs to."""
    return {
        (name, line)
        for name, text in rows_of(results).items()
        for line in text.decode().splitlines()
        if parse_row(line) is not None
    }


@pytest.mark.parametrize("number", MOMENTS)
def test_run(
    number: int, under: Under, selected: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    expected = rows_of(undisturbed)
    seconds, operations = measured(
        works.evaluate, tmp_path / "again", selected, under=under(count_to=tmp_path / "count")
    )
    assert rows_of(tmp_path / "again") == expected
    results, round_, hits = tmp_path / "results-0", 0, 0
    survived: set[tuple[str, str]] = set()
    for moment in moments(number, 0, seconds, operations):
        was_killed = killed(works.evaluate, results, selected, under=under(moment=moment))
        hits += was_killed
        known = finished(results)
        assert survived <= known, moment
        assert known <= {
            (n, line) for n, text in expected.items() for line in text.decode().splitlines()
        }
        survived = known
        for path in results.glob("runs/*/*/*/run.json"):
            record = read_record(path)
            assert (record.status == "done") == (record.metrics is not None), moment
        if not was_killed:
            assert rows_of(results) == expected
            for path in results.glob("runs/*/*/*/run.json"):
                assert verify(path.parent).problems == ()
            round_ += 1
            results, survived = tmp_path / f"results-{round_}", set()
    assert hits >= number // 3
    conditions = under()
    assert finish(start(works.evaluate, results, selected, under=conditions), conditions) == 0
    assert rows_of(results) == expected


def tree_of(folder: Path, pattern: str) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob(pattern)}


def survive(
    work: Callable[..., None],
    more: tuple[Any, ...],
    pattern: str,
    number: int,
    under: Under,
    tmp_path: Path,
) -> None:
    """Kills a work that makes files until it is done, again and again; compares what it made."""
    whole = tmp_path / "whole"
    seconds, operations = measured(work, whole, *more, under=under(count_to=tmp_path / "count"))
    expected = tree_of(whole, pattern)
    assert expected
    folder, round_, hits = tmp_path / "folder-0", 0, 0
    for moment in moments(number, 1, seconds, operations):
        was_killed = killed(work, folder, *more, under=under(moment=moment))
        hits += was_killed
        for name, data in tree_of(folder, pattern).items():
            assert data == expected[name], (moment, name)
        if not was_killed:
            assert tree_of(folder, pattern) == expected
            round_ += 1
            folder = tmp_path / f"folder-{round_}"
    assert hits >= number // 3
    conditions = under()
    assert finish(start(work, folder, *more, under=conditions), conditions) == 0
    assert tree_of(folder, pattern) == expected


@pytest.mark.parametrize("number", MOMENTS)
def test_train(number: int, under: Under, tmp_path: Path) -> None:
    survive(works.learn, (), "*.safetensors", number, under, tmp_path)


@pytest.mark.parametrize("number", MOMENTS)
def test_data_prepare(number: int, under: Under, tmp_path: Path) -> None:
    files = downloads.fss(classes=[f"class_{n}" for n in range(12)])
    source = downloads.unpacked(files, tmp_path / "from")
    survive(works.prepare, ((source,),), "[0-9]*.*g", number, under, tmp_path)
    journal = tmp_path / "whole" / "FSS-1000" / ".prepared.jsonl"
    assert all(json.loads(line) for line in journal.read_text().splitlines())
