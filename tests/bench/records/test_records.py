"""Records survive damage, newer versions and bad disks with a sentence."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.bench.records.cell_folder import Appender, CellFolder, EpisodeRow, parse_row
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.records.schema import RunRecord, read_record, read_runs
from cdfss_bench.datasets import Episode
from cdfss_bench.errors import RecordError, UserError

from ...support.records import record


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    saved = record()
    saved.save(tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == saved


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "has schema 2, this version reads up to 1"),
        ({"status": "great"}, "'status'"),
        ({"extra": 1}, "'extra'"),
        ({"domain": None}, "'domain'"),
    ],
)
def test_a_record_that_is_none_is_refused(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    values = json.loads(record().model_dump_json(by_alias=True))
    (tmp_path / "run.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(RecordError, match=sentence):
        read_record(tmp_path / "run.json")


@pytest.mark.parametrize("seal", [{}, {"seal": ""}])
def test_a_record_whose_seal_was_taken_away_is_refused(
    seal: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    record().save(path)
    values = json.loads(path.read_text())
    del values["seal"]
    path.write_text(json.dumps({**values, **seal}))
    with pytest.raises(RecordError, match="its seal does not fit"):
        read_record(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", '{"schema": "x"}'])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "isic-1shot" / "ssp" / "abc" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(RecordError, match=r"run\.json"):
        list(read_runs(tmp_path))


def test_the_schema_is_published_as_json_schema() -> None:
    schema = RunRecord.model_json_schema(by_alias=True)
    assert schema["properties"]["schema"]["const"] == 1
    assert schema["additionalProperties"] is False


names = st.text(min_size=1, max_size=20)


@given(
    st.integers(0, 10**6),
    st.integers(0, 999),
    names,
    st.lists(names, min_size=1, max_size=5),
    st.tuples(*[st.integers(0, 10**9)] * 4),
)
def test_a_row_survives_its_line(
    index: int, class_id: int, query: str, supports: list[str], counts: tuple[int, int, int, int]
) -> None:
    row = EpisodeRow(index, Episode(query, tuple(supports), class_id), Counts(*counts))
    line = row.to_line()
    assert "\n" not in line
    assert parse_row(line) == row


@given(st.text(max_size=60))
def test_no_line_crashes_the_reader(line: str) -> None:
    assert parse_row(line) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_no_json_crashes_the_reader(value: object) -> None:
    good = EpisodeRow(0, Episode("q", ("s",), 0), Counts(1, 2, 3, 4)).to_line()
    for key in ("episode", "class", "query", "supports", "inter"):
        changed = json.dumps({**json.loads(good), key: value})
        row = parse_row(changed)
        assert row is None or json.loads(row.to_line())[key] == value


def test_an_appender_closes_a_torn_line_before_it_adds(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"torn":')
    with Appender(path) as rows:
        rows.append(["whole"])
    assert path.read_text().splitlines() == ['{"torn":', "whole"]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        CellFolder(tmp_path).write_rows([])
    assert list(tmp_path.iterdir()) == []
