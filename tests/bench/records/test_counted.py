"""Rows that are read as columns are those that are read one by one."""

import json

import pytest

from cdfss_bench.bench.records.boundary import Boundary
from cdfss_bench.bench.records.cell_folder import EpisodeRow, parse_row
from cdfss_bench.bench.records.counted import Counted, parse_rows
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.datasets import Episode

ROWS = [
    EpisodeRow(n, Episode(f'q/é"{{{n}', ("s,1", "s:2"), n % 2), Counts(n, n + 5, 9, 14))
    for n in range(4)
]
MEASURED = EpisodeRow(
    4, Episode("q", ("s",), 0), Counts(1, 2, 3, 4), Boundary(2.0, 1.5, 80.0, 50.0)
)


def text_of(*rows: EpisodeRow) -> str:
    return "".join(row.to_line() + "\n" for row in rows)


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], [*ROWS, MEASURED], []])
def test_columns_give_the_rows_back(rows: list[EpisodeRow]) -> None:
    found = parse_rows(text_of(*rows))
    assert found is not None
    assert found.rows == rows
    assert found.counts.tolist() == [list(row.counts) for row in rows]
    assert found.asked.images == [(row.episode.class_id, row.episode.query) for row in rows]


def test_runs_that_were_asked_the_same_share_it() -> None:
    other = [EpisodeRow(row.index, row.episode, Counts(0, 1, 2, 3)) for row in ROWS]
    first, second = parse_rows(text_of(*ROWS)), parse_rows(text_of(*other))
    assert first is not None
    assert second is not None
    assert first.asked is second.asked
    assert first.asked.is_canonical


LINE = ROWS[0].to_line()


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace('"inter":0', '"inter":00'),
        LINE.replace('"inter":0', '"inter":-1'),
        LINE.replace('"inter":0', '"inter":0.0'),
        LINE.replace('"inter":0', '"inter":true'),
        LINE.replace('"inter":0', '"inter":٣'),
        LINE.replace('"inter":0', '"inter":1,"inter":0'),
        LINE.replace('"inter":0', f'"inter":{10**20}'),
        LINE.replace('"class":0', '"class":-1'),
        LINE.replace('"class":0', '"class":0,"class":0'),
        LINE.replace('"supports"', '"support"'),
        LINE[1:],
        LINE[:-1],
        "x" + LINE,
        LINE + "}",
        "",
        "null",
    ],
)
def test_a_damaged_line_is_damage(line: str) -> None:
    assert parse_rows(f"{LINE}\n{line}\n{ROWS[1].to_line()}\n") is None


def test_another_spelling_is_read_and_not_called_canonical() -> None:
    spaced = json.dumps(json.loads(LINE))
    turned = LINE.replace('"episode":0,"class":0', '"class":0,"episode":0')
    for line in (spaced, turned, LINE + "\r"):
        found = parse_rows(line + "\n")
        assert found is not None
        assert found.rows == [parse_row(line)]
        assert not found.asked.is_canonical


def test_columns_of_rows_are_their_counts() -> None:
    found = Counted.of([*ROWS, MEASURED])
    assert found.rows == [*ROWS, MEASURED]
    assert found.boundaries[-1] == MEASURED.boundary
