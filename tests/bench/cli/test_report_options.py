"""Options of `report` that do not go together, and names of files that cannot be meant."""

from pathlib import Path

import pytest

from ...support.records import write_cell
from ...support.shown import mistake, typed


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_cell(tmp_path / "results", "ssp")
    write_cell(tmp_path / "results", "loec")
    return tmp_path / "results"


@pytest.mark.parametrize(
    "words",
    [
        ("-f", "csv"),
        ("-f", "json"),
        ("-f", "bibtex"),
        ("-f", "latex", "--style", "paper"),
        ("--cost",),
    ],
)
def test_conclusions_that_would_not_be_shown_are_refused(
    words: tuple[str, ...], results: Path
) -> None:
    error = mistake("report", "--results", results, "--conclusions", *words)
    assert error.problem == "conclusions stand below the tables of mIoU"
    assert "-f table, md, latex or html" in (error.hint or "")


@pytest.mark.parametrize("words", [("--cost",), ("--per-class",), ("--columns", "mean")])
def test_bibtex_has_nothing_else(words: tuple[str, ...], results: Path) -> None:
    error = mistake("report", "--results", results, "-f", "bibtex", *words)
    assert "bibtex holds the papers of the methods alone" in error.problem


@pytest.mark.parametrize("form", ["table", "md", "csv", "html"])
def test_a_folder_is_no_file_to_write(form: str, results: Path) -> None:
    error = mistake("report", "--results", results, "-f", form, "-o", results)
    assert error.problem == f"--output {results} is a folder"
    assert str(results / "board.") in (error.hint or "")


def test_the_folder_that_one_is_in_is_none_either(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results)
    assert "--output . is a folder" in mistake("report", "-f", "html", "-o", ".").problem


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("board.csv", "table", "csv"),
        ("board.HTML", "md", "html"),
        ("board.tex", "bibtex", "latex"),
        ("papers.bib", "latex", "bibtex"),
    ],
)
def test_a_name_of_another_format_is_refused(
    name: str, form: str, said: str, results: Path
) -> None:
    error = mistake("report", "--results", results, "-f", form, "-o", results / name)
    assert error.problem.endswith(f"{name} is named as {said}, but the format is {form}")
    assert f"-f {said}" in (error.hint or "")
    assert not (results / name).exists()


def test_any_other_name_is_taken(results: Path) -> None:
    for name in ("board.txt", "board", "board.md", "board.csv.txt"):
        done = typed("report", "--results", results, "-o", results / name)
        assert done.exit_code == 0, done.output
        assert (results / name).read_text().startswith("**CD-FSS")


def test_published_figures_that_are_not_there_are_named(results: Path) -> None:
    error = mistake("report", "--results", results, "--against", results / "no.csv")
    assert error.problem == f"{results / 'no.csv'}: there is no such file"
    assert "--against published" in (error.hint or "")


def test_control_rows_that_are_left_out_leave_no_empty_table(results: Path) -> None:
    write_cell(results, "prototype", episodes__shots=5)
    both = typed("report", "--results", results, "--no-controls").stdout
    assert "1-shot" in both
    assert "5-shot" not in both
    error = mistake("report", "--results", results, "--no-controls", "-m", "prototype")
    assert "of control rows alone" in error.problem
    assert error.hint == "leave --no-controls out"


def test_columns_of_one_domain_are_named_in_the_notes(results: Path) -> None:
    write_cell(results, "ssp", domain__fingerprint="ab12" * 16, episodes__limited=True)
    told = typed("report", "--results", results, "--wide").stdout
    assert "isic* ab12/" in told
    assert "* isic ab12/" in told
    assert "first digits of the data's fingerprint and the number of episodes" in told


def test_a_column_that_nothing_is_like_is_answered_with_all_columns(results: Path) -> None:
    error = mistake("report", "--results", results, "--columns", "zzz")
    assert "there are: method" in error.problem
    assert error.hint is None
