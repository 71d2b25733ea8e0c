"""The table for a paper: published names, citations, marks of significance, and LaTeX that runs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.reporting.citations import published

from ...support.records import COST, DOMAINS, write_cell
from ...support.shown import report

HAS_LATEX = all(map(shutil.which, ("pdflatex", "kpsewhich")))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two alike, one clearly worse, one that adapts, controls and a stranger's row."""
    folder = tmp_path_factory.mktemp("paper")
    for domain in DOMAINS:
        for shots in (1, 5):
            asked: dict[str, Any] = {"episodes__shots": shots, "cost": COST}
            write_cell(folder, "hsnet", domain, skill=0.6, **asked)
            write_cell(folder, "ssp+lcm[k=5]", domain, skill=0.6, **asked)
            write_cell(folder, "ssp", domain, skill=0.3, **asked)
            write_cell(folder, "apm-m", domain, method__adaptation="episode", **asked)
            write_cell(folder, "hsnet@shuffled-support", domain, skill=0.2, **asked)
            write_cell(folder, "prototype", domain, skill=0.4, **asked)
    write_cell(folder, "our 100%_net", skill=0.7)
    return folder


def rows_of(table: str) -> dict[str, list[str]]:
    """Cells by the name of the row."""
    lines = [line for line in table.splitlines() if line.count(" & ") > 3]
    return {
        cells[0].partition("~")[0]: cells[1:] for cells in (line.split(" & ") for line in lines)
    }


def test_shots_stand_side_by_side_with_published_names(results: Path) -> None:
    table = report(results, "-f", "latex", "--style", "paper")
    assert table.count(r"\begin{table*}") == table.count(r"\caption{") == 1
    assert r"\label{tab:cdfss-patnet}" in table
    assert r"\multicolumn{5}{c}{1-shot} & \multicolumn{5}{c}{5-shot}" in table
    assert r"HSNet~\cite{hsnet2021} & ResNet-50" in table
    assert r"SSP+LCM (k=5)~\cite{ssp2022,loec2025}" in table
    rows = rows_of(table)
    assert {len(cells) for cells in rows.values()} == {11}
    assert rows[r"our 100\%\_net"][5:7] == ["--", "--"]
    order = [name for name in rows if name in ("SSP", "APM-M", "Prototype")]
    assert order == ["SSP", "APM-M", "Prototype"]


def test_marks_are_those_of_the_paired_tests(results: Path) -> None:
    rows = rows_of(report(results, "-f", "latex", "--style", "paper"))
    alike, worse = rows["HSNet"][1:5], rows["SSP"][1:]
    other = rows["SSP+LCM (k=5)"][1:5]
    for ours, theirs in list(zip(alike, other, strict=True))[:3]:
        best, second = (ours, theirs) if "textbf" in ours else (theirs, ours)
        assert "textbf" in best
        assert r"\ast" not in best
        assert re.fullmatch(r"\\underline\{\d\d\.\d\d\}\\rlap\{\$\^\{\\approx\}\$\}", second)
    assert all(re.fullmatch(r"\d\d\.\d\d( \\\\)?", cell) for cell in worse)
    assert all("textbf" not in cell for name in ("Prototype", "APM-M") for cell in rows[name])


def test_the_significantly_best_is_marked(tmp_path: Path) -> None:
    write_cell(tmp_path, "hsnet", skill=0.7)
    write_cell(tmp_path, "ssp", skill=0.3)
    table = report(tmp_path, "-f", "latex", "--style", "paper")
    assert re.search(r"\\textbf\{\d\d\.\d\d\}\\rlap\{\$\^\{\\ast\}\$\}", table)
    assert "significantly better than all others" in table


def test_citations_have_entries(results: Path) -> None:
    keys = set()
    for cited in re.findall(
        r"\\cite\{([^}]*)\}", report(results, "-f", "latex", "--style", "paper")
    ):
        keys |= set(cited.split(","))
    entries = re.findall(r"@\w+\{(\w+),", report(results, "-f", "bibtex"))
    assert keys <= set(entries)
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("loec", "LoEC"),
        ("ssp+lem+lcm", "SSP+LEM+LCM"),
        ("dra (not source-trained)", "DR-Adapter (not source-trained)"),
        ("hsnet@shuffled-support", "HSNet, shuffled support"),
        ("somebody's net", "somebody's net"),
    ],
)
def test_names_are_those_of_the_cards(label: str, name: str) -> None:
    assert published(label).name == name


@pytest.mark.skipif(not HAS_LATEX, reason="no LaTeX is installed")
@pytest.mark.parametrize("style", ["paper", "plain"])
def test_latex_compiles(style: str, results: Path, tmp_path: Path) -> None:
    table = report(results, "-f", "latex", "--style", style)
    (tmp_path / "table.tex").write_text(
        "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
        f"{table}\n\\end{{document}}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("form", ["table", "md", "latex", "csv", "json", "html"])
def test_controls_can_be_left_out_of_every_format(form: str, results: Path) -> None:
    every, without = (
        report(results, "-f", form, "--wide", *words) for words in ((), ("--no-controls",))
    )
    assert "hsnet@shuffled-support" in every
    assert "hsnet@shuffled-support" not in without
    if form != "html":  # whose conclusions compare with the best control
        assert "prototype" not in without
    # What the controls say of the methods stays.
    if form in ("table", "md", "latex"):
        assert "control: against the same method" in without


def test_columns_are_chosen_by_name(results: Path) -> None:
    table = report(results, "--columns", "ISIC,mean", "--columns", "gflop")
    assert table.splitlines()[2].split() == ["method", "isic", "mean", "GFLOP"]
    assert "weights" not in report(results, "-f", "md", "--columns", "isic")
    line = report(results, "-f", "csv", "--columns", "label,miou").splitlines()[0]
    assert line == "label,miou"
    page = report(results, "-f", "html", "--columns", "isic,mean")
    board = page.partition("<table")[2].partition("</table>")[0]
    assert "isic" in board
    assert "deepglobe" not in board
    paper = report(results, "-f", "latex", "--style", "paper", "--columns", "isic,mean")
    assert r"\begin{tabular}{@{}lcccc@{}}" in paper


@pytest.mark.parametrize(
    ("order", "first"),
    [("mean", ["hsnet", "ssp+lcm[k=5]"]), ("method", ["hsnet"]), ("isic", ["our 100%_net"])],
)
def test_rows_are_sorted_by_what_was_asked(order: str, first: list[str], results: Path) -> None:
    for form in ("table", "csv"):
        text = report(results, "-f", form, "--sort", order, "--columns", *(
            ("isic",) if form == "table" else ("label",)
        ))  # fmt: skip
        lines = text.splitlines()[5 if form == "table" else 1 :]
        assert any(lines[0].strip().startswith(name) for name in first), lines[0]
