"""A results folder that shows nothing: the one beside it that has records is named."""

import json
from pathlib import Path

import pytest

from ...support.records import write_cell
from ...support.shown import mistake, typed


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_cell(Path("results"), "ssp")
    return Path("results")


@pytest.mark.parametrize("verb", [("report",), ("verify",), ("compare", "ssp", "loec")])
@pytest.mark.parametrize("folder", ["results/runs", "results/runs/isic-1shot/ssp"])
def test_a_folder_inside_the_results_names_them(
    verb: tuple[str, ...], folder: str, results: Path
) -> None:
    error = mistake(*verb, "--results", folder)
    assert error.problem == f"there are no records under {Path(folder, 'runs')}"
    assert error.hint == f"--results {results} has some"


def test_the_folder_around_the_results_names_them(results: Path, tmp_path: Path) -> None:
    assert mistake("report", "--results", ".").hint == f"--results {results} has some"
    assert (
        mistake("report", "--results", tmp_path).hint == f"--results {tmp_path / results} has some"
    )


def test_from_inside_the_results_they_are_found(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results)
    assert mistake("report").hint == "--results . has some"
    monkeypatch.chdir("runs")
    assert (
        mistake("report", "--results", Path.cwd()).hint == f"--results {Path.cwd().parent} has some"
    )


def test_where_there_are_none_anywhere_the_command_that_makes_some_is_named(tmp_path: Path) -> None:
    error = mistake("report", "--results", tmp_path / "none")
    assert error.hint == "cdfss-bench run -m loec -k 5"


@pytest.mark.usefixtures("results")
def test_a_folder_of_runs_is_no_run(tmp_path: Path) -> None:
    error = mistake("verify", "results/runs")
    assert error.problem == "results/runs holds no run.json"
    assert error.hint == "name the folder of a run, or all of them by --results results"
    (tmp_path / "else").mkdir()
    for name in ("/", "a" * 300):
        assert mistake("verify", name).hint == "name the folder of a run"


@pytest.mark.usefixtures("results")
def test_a_list_without_records_says_where_some_are() -> None:
    done = typed("list", "runs", "--results", "results/runs")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "there are no records under results/runs/runs",
        "  hint: --results results has some",
    ]


def test_runs_are_listed_by_domain_shots_method_and_seed(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        for domain in ("isic", "deepglobe"):
            write_cell(tmp_path, "ssp", domain, seed=seed)
    write_cell(tmp_path, "dra", "isic")
    told = json.loads(typed("list", "runs", "--json", "--results", tmp_path).stdout)
    assert [(run["domain"], run["method"], run["seed"]) for run in told] == [
        *(("deepglobe", "ssp", seed) for seed in (0, 1, 2)),
        ("isic", "dra", 0),
        *(("isic", "ssp", seed) for seed in (0, 1, 2)),
    ]


@pytest.mark.parametrize("kind", ["methods", "domains"])
def test_a_pattern_that_fits_nothing_is_refused(kind: str) -> None:
    assert mistake("list", kind, "zz*").problem == f"no {kind[:-1]} fits 'zz*'"


def test_options_are_no_pattern() -> None:
    error = mistake("list", "methods", "loec[k=3]")
    assert error.hint == "the options of loec stand in its card: name it alone"


def test_no_method_is_answered_by_the_option_that_names_one(tmp_path: Path) -> None:
    for verb in (("run",), ("predict", "-o", tmp_path / "pictures")):
        assert mistake(*verb).hint == "name one with -m, such as -m loec"
