"""Tables and the page: what is marked, what is escaped, what stays small."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import markupsafe
import pytest

from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.leaderboard import ORACLE
from cdfss_bench.bench.comparison.published import read_published
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.html import document
from cdfss_bench.bench.reporting.html.document import as_html, as_pages
from cdfss_bench.bench.reporting.latex import as_latex, escaped
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.published_table import published_table
from cdfss_bench.bench.reporting.text_table import BLANK, TextTable, as_markdown
from cdfss_bench.errors import RecordError

from ...conftest import CHECKOUT
from ...support.records import COST, DOMAINS, record, write_cell
from ...support.shown import board_of, column, report, table_of


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Four rows on four domains: two alike, one far worse, one that adapts."""
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.60, cost=COST, method__backbone="resnet50")
        write_cell(tmp_path, "ssp", domain, skill=0.60, cost=COST)
        write_cell(tmp_path, "all-foreground", domain, skill=0.3, method__backbone="")
        write_cell(tmp_path, "patnet", domain, skill=0.65, method__adaptation="episode")
    return tmp_path


def test_sections_ranks_and_ties(results: Path) -> None:
    table = table_of(results)
    assert list(table.sections.values()) == [
        "no adaptation",
        "adapts to the support of each episode",
        "controls",
    ]
    ranks = column(table, "rank")
    assert sorted(ranks[m] for m in ("loec", "ssp")) == ["1", "2"]
    assert (ranks["all-foreground"], ranks["patnet"]) == (BLANK, "1")
    marks = {
        (table.rows[row][0], table.headers[column]): mark
        for (row, column), mark in table.marks.items()
    }
    # Equal in skill: where one is the best, the other is tied with it.
    for domain in DOMAINS:
        assert {marks.get(("loec", domain)), marks.get(("ssp", domain))} == {"best", "tied"}
        assert ("all-foreground", domain) not in marks
        assert marks["patnet", domain] == "best"
    cell = table.rows[0][list(table.headers).index("isic")]
    assert re.fullmatch(r"≈?\d+\.\d\d \[\d+\.\d, \d+\.\d\]", cell)


def test_what_was_selected_on_the_target_is_ranked_with_nobody(results: Path) -> None:
    for domain in DOMAINS:
        write_cell(results, "dra", domain, skill=0.9, weights__selection="target-oracle")
    table = table_of(results)
    assert list(table.sections.values())[-1] == ORACLE
    assert any("selected on target data, ranked with nobody: dra" in n for n in table.notes)
    ranks = column(table, "rank")
    assert [ranks[name] for name in ("loec", "ssp", "dra")].count("1") == 2


def test_a_checkpoint_per_target_is_a_row_per_target_without_a_mean(tmp_path: Path) -> None:
    for number, domain in enumerate(DOMAINS):
        write_cell(tmp_path, "hsl", domain, weights__checkpoint_sha256=str(number))
    table = table_of(tmp_path)
    assert len(table.rows) == 4
    assert any("hsl: another checkpoint per target" in note for note in table.notes)
    assert set(column(table, "mean").values()) == {"–"}


def test_a_method_that_does_not_beat_its_control_is_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", skill=0.4)
    write_cell(tmp_path, "ssp@shuffled-support", skill=0.5)
    assert any(
        "ssp does not beat its shuffled-support control on isic" in note
        for note in table_of(tmp_path).notes
    )


def test_the_score_without_source_classes_stands_beside_the_full_one() -> None:
    changed = record("ssp", "fss1000", 60.0, domain__classes={0: "warplane", 1: "abacus"})
    assert changed.metrics is not None
    changed.metrics.per_class = {0: 90.0, 1: 30.0}
    (board,) = leaderboards([changed])
    line = next(n for n in text_table(board).notes if "kinds of a source class" in n)
    assert (
        line == "fss1000 without the 1 classes that are kinds of a source class: ssp 30.00 (-30.00)"
    )


def test_another_evaluator_and_another_population_are_grey() -> None:
    whole = [record("ssp"), record("loec"), record("hsnet", domain__fingerprint="a" * 64)]
    (board,) = leaderboards(whole)
    table = text_table(board)
    grey = [table.headers[i] for i in table.grey]
    assert [h.split()[1] for h in grey] == ["aaaa/600"]
    (old,) = leaderboards([record(evaluator__version=99)])
    assert text_table(old).outdated
    assert not table.outdated


def test_markdown_and_latex_mark_and_escape(results: Path) -> None:
    table = table_of(results)
    markdown = as_markdown([table])
    assert "*no adaptation*" in markdown
    assert re.search(r"\*\*\d+\.\d\d \[", markdown)
    odd = TextTable("odd", ["a*", "b"], [["x|y", "1.00*"]], frozenset({1}), notes=["* few", "+ up"])
    assert as_markdown([replace(odd, marks={(0, 1): "best"}, sections={0: "c* d"})]) == (
        "**odd**\n\n| a\\* | b |\n| --- | ---: |\n| *c\\* d* |  |\n| x\\|y | **1.00\\*** |\n\n"
        "\\* few  \n\\+ up\n"
    )
    latex = as_latex([table])
    assert r"\toprule" in latex
    assert r"\textbf{" in latex
    assert r"\multicolumn" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    widths = {
        line.count("&") for line in latex.splitlines() if line.endswith(r"\\") and "&" in line
    }
    assert widths == {len(table.headers) - 1}
    assert escaped("a_b & 5% {x} ^~\\") == (
        r"a\_b \& 5\% \{x\} \textasciicircum{}\textasciitilde{}\textbackslash{}"
    )


def test_names_of_own_classes_are_no_markup() -> None:
    names = ["[x]", "*all*", "<b|c>", "`ls` $x$", "_a_b_", "\\| d"]
    table = TextTable(
        "classes", ["class", "IoU"], [[name, "1.00"] for name in names], frozenset({1})
    )
    markdown = as_markdown([table])
    shown = [r"[x]", r"\*all\*", r"\<b\|c>", r"\`ls\` \$x\$", r"\_a_b\_", r"\\\| d"]
    assert [line.split(" | 1.00")[0] for line in markdown.splitlines()[-6:]] == [
        f"| {name}" for name in shown
    ]
    latex = as_latex([table])
    # A line that begins with them would be an argument of the end of the line before.
    assert "\n{}[x] & 1.00" in latex
    assert "\n{}*all* & 1.00" in latex
    assert r"\textless{}b\textbar{}c\textgreater{} & 1.00" in latex


def test_published_figures_stand_apart_with_ranges_and_our_difference(results: Path) -> None:
    board = board_of(results)
    table = published_table(board, read_published(CHECKOUT / "results" / "published.csv"))
    rows = {(cells[0], cells[1]): cells for cells in table.rows}
    at = list(table.headers).index
    loec = rows["LoEC (2025)", "ResNet-50"]
    assert re.match(r"44\.10 \(\d\d\.\d\d, [+-]\d+\.\d\d\)", loec[at("deepglobe")])
    patnet = next(c for k, c in rows.items() if k[0] == "PATNet (2022)")
    assert patnet[at("isic")].startswith(("33.43", "41.16"))
    restnet = next(c for k, c in rows.items() if k[0].startswith("RestNet"))
    assert restnet[at("deepglobe")] == "22.70–40.39"
    last = max(table.sections)
    assert "no mIoU" in table.sections[last]
    ifa = [c for c in table.rows[last:] if c[0].startswith("IFA")]
    assert ifa
    assert not any("(" in cell for cell in ifa[0][2:])
    assert any("SDRC ICML 2025" in note for note in table.notes)


@pytest.mark.parametrize("text", ["method\nx\n", "", "method,venue\n\x00"])
def test_a_damaged_table_of_published_figures_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(RecordError, match=r"p\.csv, line \d"):
        read_published(tmp_path / "p.csv")


class Tags(HTMLParser):
    """Counts what opens and closes, and collects addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input"):
            self.open.append(tag)
        self.outside += [
            v for k, v in attrs if k in ("src", "href") and v and not v.startswith(("#", "data:"))
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_whole_file_without_a_network(results: Path) -> None:
    page = as_html(run_results(results), read_published(CHECKOUT / "results" / "published.csv"))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.outside == []
    assert "@import" not in page
    assert "url(" not in page
    assert len(page.encode()) < 2_000_000
    assert "prefers-color-scheme:dark" in page
    assert page.count("<svg") == 10  # two Pareto charts, intervals and bars of four domains
    said = json.loads(page.partition('id="provenance">')[2].partition("</script>")[0])
    behind = {i for ids in re.findall(r'data-cells="([^"]+)"', page) for i in ids.split()}
    assert behind == set(said["cells"])
    assert len(behind) == 16
    assert len(said["texts"]) == len(set(said["texts"]))
    manifest = said["keys"].index("manifest")
    told = {said["texts"][texts[manifest]] for texts in said["cells"].values()}
    assert told == {answer.record.episodes.sha256 for answer in run_results(results)}


def test_shortened_runs_have_a_marked_mean_and_a_legend(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "ssp", domain, episodes=6, episodes__limited=True)
        write_cell(tmp_path, "loec", domain, episodes=6, episodes__limited=True)
    page = as_html(run_results(tmp_path))
    assert re.search(r'data-value="\d\d\.\d\d">\s*<button[^>]*>\s*\d\d\.\d\d\*', page)
    assert "mean over fewer episodes than the protocol has" in page
    assert re.search(r"(loec|ssp) has the best mean \(\d\d\.\d\d\)\.", page)


def test_rows_that_do_not_fit_stand_on_further_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write_cell(tmp_path, f"method-{number}", skill=0.2 + 0.01 * number, episodes=6)
    write_cell(tmp_path, "all-foreground", skill=0.1, episodes=6)
    found = run_results(tmp_path)
    assert list(as_pages(found, name="board.html")) == ["board.html"]
    monkeypatch.setattr(document, "PAGE_LIMIT", 60_000)
    pages = as_pages(found, name="board.html")
    assert list(pages) == ["board.html", *(f"board-{n}.html" for n in range(2, len(pages) + 1))]
    assert 3 <= len(pages) <= 8
    assert {name: len(text) for name, text in pages.items() if len(text.encode()) > 60_000} == {}
    shown: list[str] = []
    for text in pages.values():
        tags = Tags()
        tags.feed(text)
        assert tags.open == []
        assert set(tags.outside) <= set(pages)
        assert len(set(tags.outside)) == len(pages) - 1
        body = text.partition('class="board"')[2].partition("</table>")[0]
        shown += re.findall(r"<tr(?: class=\"control\")?>\s*<td class=\"\"[^>]*>([^<]+)</td>", body)
        said = json.loads(text.partition('id="provenance">')[2].partition("</script>")[0])
        behind = {i for ids in re.findall(r'data-cells="([^"]+)"', text) for i in ids.split()}
        assert behind == set(said["cells"])
        assert '<tr class="section' in text
    scores = {a.record.method.label: a.record.metrics for a in found}
    assert len(shown) == len(set(shown)) == 41
    assert shown[-1] == "all-foreground"
    values = [found_.miou for label in shown[:-1] if (found_ := scores[label]) is not None]
    assert values == sorted(values, reverse=True)


def test_of_many_records_behind_a_number_the_first_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdfss_bench.bench.reporting.html.tables.MOST_BEHIND", 2)
    for seed in range(5):
        write_cell(tmp_path, "ssp", seed=seed, episodes=6)
    page = as_html(run_results(tmp_path))
    assert re.search(r'data-cells="[0-9a-f]{16} [0-9a-f]{16}" data-more="3"', page)


def test_what_a_record_says_cannot_become_markup(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>&</script><!--'
    write_cell(
        tmp_path, "ssp", weights__description=evil, domain__classes={0: evil, 1: "b", 2: "c"},
        command=evil, cost=COST,
    )  # fmt: skip
    page = as_html(run_results(tmp_path))
    assert evil not in page
    assert "<script>alert" not in page
    assert markupsafe.escape(evil) in page
    assert page.count("</script>") == 2


def test_every_format_and_the_site_from_the_command_line(results: Path, tmp_path: Path) -> None:
    for form, sign in (
        ("table", "rank"), ("md", "| ---"), ("latex", r"\bottomrule"), ("csv", "miou_low"),
        ("json", '"tied_with_best"'), ("html", "<!doctype html>"),
    ):  # fmt: skip
        assert sign in report(results, "-f", form)
    assert "published, 1-shot" in report(results, "--against", "published", "-f", "md")
    site = tmp_path / "site"
    report(results, "--site", site)
    names = {path.name for path in site.iterdir()}
    assert names == {"index.html", "leaderboard.csv", "leaderboard.json", "run.schema.json"}


@pytest.mark.parametrize("form", ["html", "table"])
def test_a_report_does_not_load_torch_and_only_the_page_loads_the_templates(
    form: str, results: Path
) -> None:
    program = (
        "import sys; from cdfss_bench.bench.cli import app; "
        f"app(['report', '-f', {form!r}, '--results', {str(results)!r}], standalone_mode=False); "
        "print('jinja2' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(f"{form == 'html'} False\n")
