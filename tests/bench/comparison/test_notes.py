"""What records note of their data reaches every table that shows their numbers."""

import csv
import io
import json
from pathlib import Path

import pytest

from cdfss_bench.bench.comparison.notes import kind_of, note_lines, summary
from cdfss_bench.bench.reporting.comparison_table import comparison_table

from ...support.records import write_cell
from ...support.shown import compared, report

EMPTY = [f"mugs/masks/red cat/00{i}.png is empty and serves as query" for i in range(6)]
SIZE = "mugs/masks/dog/1.png is 128x96 but its image is 96x128; both are brought to 400x400"
CROWD = "3 annotations of crowds are left out"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EMPTY[0], EMPTY[5]),
        (SIZE, "a/b c.png is 12x9 but its image is 9x12; both are brought to 128x128"),
        (CROWD, "12 annotations of crowds are left out"),
        ("cat.png is empty", "dog.jpeg is empty"),
        ("asked and shown at once: a/b.jpg = a/c.jpg", "asked and shown at once: d.jpg = e.jpg"),
    ],
)
def test_notes_of_one_kind_differ_in_files_and_numbers_only(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)


def test_notes_of_two_kinds_stay_two() -> None:
    roles = [f"a/b.png is empty and serves as {role}" for role in ("query", "support")]
    assert len({kind_of(note) for note in (*roles, SIZE, CROWD)}) == 4


def test_kinds_are_counted_the_most_frequent_first() -> None:
    assert summary([CROWD]) == CROWD
    assert summary([CROWD, *EMPTY]) == f"{EMPTY[0]} (and 5 more like it); {CROWD}"
    assert summary([CROWD, *EMPTY, SIZE, "odd"]).endswith("; and 2 more notes")


def test_a_row_has_two_lines_and_rows_that_agree_share_them() -> None:
    notes = {"isic": EMPTY, "deepglobe": [CROWD], "fss1000": [SIZE], "chestxray": []}
    lines = note_lines([("ssp", notes), ("loec", notes), ("hsnet", {"isic": []})])
    assert lines == [
        f"ssp, loec on isic: {EMPTY[0]} (and 5 more like it)",
        "ssp, loec: 2 more notes on deepglobe, fss1000",
        "report --notes shows every note of the records",
    ]
    assert note_lines([(name, notes) for name in "abcde"])[1].startswith("all rows: 2 more")
    every = note_lines([("ssp", notes)], every=True)
    assert every == [f"ssp on isic: {n}" for n in EMPTY] + [
        f"ssp on deepglobe: {CROWD}", f"ssp on fss1000: {SIZE}",
    ]  # fmt: skip
    assert note_lines([("ssp", {"isic": [CROWD]})]) == [f"ssp on isic: {CROWD}"]
    assert note_lines([("ssp", {"isic": []})]) == []


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_cell(tmp_path, "ssp", notes=[*EMPTY, SIZE, CROWD])
    write_cell(tmp_path, "loec", skill=0.6)
    return tmp_path


@pytest.mark.parametrize("form", ["table", "md", "latex", "html", "csv", "json"])
def test_notes_stand_below_every_form(form: str, results: Path) -> None:
    plain = report(results, "-f", form, "--wide")
    every = report(results, "-f", form, "--wide", "--notes")
    seen = {text: sum(note.split("/")[-1] in text for note in EMPTY) for text in (plain, every)}
    assert seen[every] == 6
    if form == "csv":
        lines = {line["label"]: line["notes"] for line in csv.DictReader(io.StringIO(plain))}
        assert lines["loec"] == ""
        assert lines["ssp"].split(" | ") == [*EMPTY, SIZE, CROWD]
    elif form == "json":
        told = {line["label"]: line["notes"] for line in json.loads(plain)}
        assert told == {"ssp": [*EMPTY, SIZE, CROWD], "loec": []}
    else:
        assert "(and 5 more like it)" in plain
        assert plain.count("is empty and serves as query") == (1 if form != "html" else 6)
        assert "report --notes shows every note" in plain


def test_notes_stand_below_a_comparison(results: Path) -> None:
    comparison = compared(results, "ssp", "loec")
    assert any("(and 5 more like it)" in note for note in comparison_table(comparison).notes)
    assert comparison.to_json()["notes"]["ssp"] == {"isic": (*EMPTY, SIZE, CROWD)}
