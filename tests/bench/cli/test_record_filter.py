"""Options that limit the records of `report`, `compare` and `runs rm`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.errors import UserError

from ...support.records import DOMAINS, write_cell


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for domain in DOMAINS[:2]:
        for shots in (1, 5):
            write_cell(tmp_path, "ssp", domain, episodes__shots=shots, skill=0.4)
            write_cell(tmp_path, "ssp+lem+lcm", domain, episodes__shots=shots, skill=0.6)
            write_cell(tmp_path, "ssp@shuffled-support", domain, episodes__shots=shots, skill=0.1)
    write_cell(tmp_path, "ssp", DOMAINS[0], method__backbone="vgg16", skill=0.2)
    return tmp_path


def shown(results: Path, *words: str) -> list[dict[str, Any]]:
    line = ["report", *words, "-f", "json", "--results", str(results)]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "key", "values"),
    [
        (("-m", "loec"), "composition", {"ssp+lem+lcm"}),
        (("-m", "SSP"), "composition", {"ssp", "ssp@shuffled-support"}),
        (("-m", "ssp,loec"), "composition", {"ssp", "ssp@shuffled-support", "ssp+lem+lcm"}),
        (("-m", "ssp+*"), "composition", {"ssp+lem+lcm"}),
        (("-d", DOMAINS[1].upper()), "domain", {DOMAINS[1]}),
        (("-k", "5"), "shots", {5}),
        (("-k", "1,3,5"), "shots", {1, 5}),
        (("--backbone", "vgg16"), "backbone", {"vgg16"}),
        (("--protocol", "patnet", "--seed", "0..4"), "shots", {1, 5}),
    ],
)
def test_report_shows_what_is_asked(
    results: Path, words: tuple[str, ...], key: str, values: set[Any]
) -> None:
    lines = shown(results, *words)
    assert {line[key] for line in lines} - {None} == values


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (("-m", "lec"), "unknown recorded method 'lec'", "ssp"),
        (("-d", "isc"), "no record is of domain isc", "chestxray"),
        (("-k", "3"), "no record is of shots 3", "known are: 1, 5"),
        (("--seed", "4"), "no record is of seed 4", "known are: 0"),
        (("--protocol", "strict"), "no record is of protocol strict", "patnet"),
        (("-m", "loec", "--backbone", "vgg16"), "no record fits all of these options", "leave"),
    ],
)
def test_what_no_record_has_is_refused(
    results: Path, words: tuple[str, ...], problem: str, hint: str
) -> None:
    with pytest.raises(UserError) as caught:
        shown(results, *words)
    assert caught.value.problem == problem
    assert hint in (caught.value.hint or "")


def test_a_mean_is_never_taken_over_the_domains_that_are_shown(results: Path) -> None:
    words = ["report", "-m", "ssp", "-k", "5", "--results", str(results)]
    whole = CliRunner().invoke(app, words).stdout
    part = CliRunner().invoke(app, [*words, "-d", ",".join(DOMAINS[:2])]).stdout
    assert "no mean" not in whole
    assert "no mean, since -d shows only some of the recorded domains" in part


def test_a_limit_brings_no_older_record_to_light(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", seed=0, method__code="older")
    write_cell(tmp_path, "ssp", seed=1)
    assert len(shown(tmp_path, "--seed", "1")) == len(shown(tmp_path))
    with pytest.raises(UserError, match="no record fits"):
        shown(tmp_path, "--seed", "0")


def test_a_variable_set_for_run_hides_no_record(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDFSS_SHOTS", "5")
    monkeypatch.setenv("CDFSS_METHOD", "loec")
    assert {line["shots"] for line in shown(results)} == {1, 5}
