"""Tables on a screen of any width: every number can be read."""

import io
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.columns import only_columns
from cdfss_bench.bench.reporting.cost_table import cost_table
from cdfss_bench.bench.reporting.leaderboard_table import text_table
from cdfss_bench.bench.reporting.screen_table import as_rich
from cdfss_bench.bench.reporting.text_table import INTERVALS, STACKED, TextTable, as_markdown

from ...support.program import PROGRAM, program
from ...support.records import COST, DOMAINS, write_cell
from ...support.shown import board_of

WIDTHS = (20, 40, 60, 80, 100, 120, 200, 400)


def drawn(table: TextTable, width: int | None) -> list[str]:
    screen = Console(file=io.StringIO(), width=width or 1000, no_color=True)
    screen.print(as_rich(table, width), crop=False, highlight=False)
    return screen.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]


def numbers(cells: Iterable[str]) -> list[str]:
    return [word for cell in cells for word in re.findall(r"[-+≈~\d.]*\d[.\d]*", cell)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screen")
    for domain in DOMAINS:
        for seed in (0, 1):
            write_cell(folder, "ssp", domain, skill=0.6, seed=seed, cost=COST)
        write_cell(folder, "ssp+lcm[k=5,beta=0.6]@shuffled-support", domain, skill=0.5)
        write_cell(folder, "apm-m", domain, skill=0.4, method__adaptation="episode", cost=COST)
    return folder


def tables(results: Path) -> dict[str, TextTable]:
    found = run_results(results)
    board = board_of(found)
    return {"scores": text_table(board, standings(board, found)), "cost": cost_table(board)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("which", ["scores", "cost"])
def test_no_number_is_cut_and_no_line_is_too_long(which: str, width: int, results: Path) -> None:
    table = tables(results)[which]
    lines = drawn(table, width)
    longest = max(len(word) for line in lines for word in line.split())
    assert max(map(cell_len, lines)) <= max(width, longest + 4)
    text = "\n".join(lines)
    assert "…" not in text
    hidden = re.search(r"hidden at this width: ([^;]*);", " ".join(" ".join(lines).split()))
    left_out = set(hidden.group(1).split(", ") if hidden else ())
    assert left_out <= set(table.secondary)
    at = [i for i in table.numeric if table.headers[i] not in left_out]
    words = set(text.split())
    for row in table.rows:
        cells = [row[i].partition(" [")[0] if INTERVALS in left_out else row[i] for i in at]
        for number in numbers(cells):
            assert any(number in word for word in words), number
    assert not left_out or table.whole in " ".join(text.split())


def test_secondary_columns_go_before_the_table_becomes_blocks(results: Path) -> None:
    table = tables(results)["scores"]
    rule = "─" * 20
    text = {width: "\n".join(drawn(table, width)) for width in (50, 80, 120, 400)}
    assert rule in text[400]
    assert "hidden" not in text[400]
    assert "hidden at this width: selected, on, " in text[120]
    assert "interval over" in text[120]
    assert INTERVALS not in text[120].partition("hidden")[2].partition(";")[0]
    assert "GFLOP" in text[120].partition("hidden")[0]
    assert rule in text[80]
    assert f"rank, {INTERVALS};" in text[80]
    assert rule not in text[50]
    assert "hidden" not in text[50]  # a block has a line for every column
    for line in ("  backbone ", "  mean ", "  GFLOP "):
        assert text[50].count(f"\n{line}") == len(table.rows)


def test_80_columns_show_the_method_the_domains_and_the_mean(results: Path) -> None:
    lines = drawn(tables(results)["scores"], 80)
    headers = next(line for line in lines if "method" in line)
    assert headers.split() == ["method", *DOMAINS, "mean"]
    assert max(map(cell_len, lines)) <= 80


def test_intervals_stand_below_their_numbers_before_they_go() -> None:
    cells = ["a", *["≈50.12 [40.0, 60.0]"] * 3]
    steps = ["z", STACKED, INTERVALS]
    headers = ["method", "x", "y", "z"]
    table = TextTable("t", headers, [cells], frozenset({1, 2, 3}), secondary=steps)
    assert drawn(table, 88)[4].split() == " ".join(cells).split()
    assert drawn(table, 60)[2].split() == ["method", "x", "y"]
    assert drawn(table, 60)[4].count(" [40.0, 60.0]") == 2
    number, interval = drawn(table, 40)[4:6]
    assert number.split() == ["a", "≈50.12", "≈50.12"]
    assert interval.split() == ["[40.0,", "60.0]"] * 2
    assert number.index("≈50.12") + 6 == interval.index("]") + 1
    assert "[" not in "".join(drawn(table, 34)[:6])
    assert "hidden at this width: z, intervals;" in " ".join(drawn(table, 34)[6:])


def test_a_row_says_what_tells_it_apart_where_that_column_is_hidden(tmp_path: Path) -> None:
    results = tmp_path
    write_cell(results, "ssp")
    assert not any(tables(results)["scores"].apart.values())
    write_cell(results, "ssp", weights__checkpoint_sha256="other", weights__description="other")
    write_cell(results, "ssp", method__backbone="vgg16", weights__description="third")
    table = tables(results)["scores"]
    assert sorted(table.apart["backbone"].values()) == ["resnet50", "resnet50", "vgg16"]
    assert "other" in table.apart["weights"].values()
    assert "third" not in table.apart["weights"].values()
    narrow = " ".join("\n".join(drawn(table, 64)).split())
    assert "backbone" in narrow.partition("hidden at this width")[2]
    assert "(vgg16)" in narrow
    assert "other)" in narrow
    whole = "\n".join(drawn(table, None))
    assert "(vgg16)" not in whole
    markdown = as_markdown(only_columns([table], ["mean"]))
    assert "(vgg16) |" in markdown
    assert len({line.split("|")[1] for line in markdown.splitlines() if "ssp" in line}) == 3


def test_a_table_without_the_wanted_columns_is_left_out() -> None:
    lung = TextTable("a", ["method", "lung"], [["ssp", "1"]], frozenset({1}))
    nevus = TextTable("b", ["method", "nevus*"], [["ssp", "2"]], frozenset({1}))
    assert [table.title for table in only_columns([lung, nevus], ["Nevus"])] == ["b"]
    assert [table.title for table in only_columns([lung, nevus], ["method"])] == ["a", "b"]


def test_many_rows_on_several_backbones_are_still_a_table_at_80_columns(tmp_path: Path) -> None:
    for domain in DOMAINS:
        for seed in (0, 1):
            write_cell(tmp_path, "prototype", domain, seed=seed, cost=COST)
        write_cell(tmp_path, "prototype", domain, method__backbone="vgg16", cost=COST)
    lines = drawn(tables(tmp_path)["scores"], 80)
    assert any("─" * 20 in line for line in lines)
    assert max(map(cell_len, lines)) <= 80


def test_names_continue_before_a_plug_in_and_numbers_never() -> None:
    rows = [["hsnet+apm-m[steps=25,lr=-0.05]@shuffled-support", "-0.25 to +1.50", "12.25"]]
    lines = drawn(TextTable("", ["name", "text", "number"], rows, frozenset({2})), 34)
    parts = [line.split("  ")[0].strip() for line in lines[3:]]
    assert "".join(parts) == rows[0][0]
    assert {"-0.25", "+1.50", "12.25"} <= set(" ".join(lines).split())
    assert all(part[0].isalpha() or part[0] in "+@[" for part in parts)


def test_text_wraps_at_blanks_and_numbers_do_not() -> None:
    long = "a summary of many words that says what it is"
    table = TextTable("t", ["name", "count", "what"], [["x", "123456", long]], frozenset({1}))
    lines = drawn(table, 40)
    assert any("123456" in line for line in lines)
    assert " ".join(" ".join(lines).split()).count("summary") == 1
    assert max(map(len, lines)) <= 40
    assert [line for line in drawn(table, None) if long in line]


def test_sections_keep_their_columns(results: Path) -> None:
    table = tables(results)["scores"]
    lines = drawn(table, None)
    titles = ["no adaptation", "adapts to the support of each episode", "controls"]
    at = [lines.index(f" {title}") for title in titles]
    assert at == sorted(at)
    ends = {match.end() for line in lines if (match := re.search(r"^ \S+ .*\d\]", line))}
    assert len(ends) == 1


def test_a_file_is_80_columns_wide_unless_wide_or_columns_says_otherwise(results: Path) -> None:
    def typed(*words: str, **environment: str) -> str:
        known = {"PATH": "/usr/bin:/bin", "HOME": str(results), **environment}
        return program("report", "--results", results, *words, check=True, env=known).stdout

    def longest(text: str) -> int:
        return max(map(cell_len, text.splitlines()))

    plain, coloured = typed(), typed(FORCE_COLOR="1")
    assert 70 < longest(plain) <= 80
    assert "\x1b[" not in plain
    assert "\x1b[1m" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert bare == plain
    assert 100 < longest(typed(COLUMNS="120")) <= 120
    wide = typed("--wide", COLUMNS="40")
    assert "hidden at this width" not in wide
    assert longest(wide) > 150


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("words", [("report",), ("report", "--cost"), ("list", "runs")])
def test_a_terminal_of_40_columns_shows_every_score(words: tuple[str, ...], results: Path) -> None:
    import fcntl
    import os
    import pty
    import struct
    import termios

    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    with subprocess.Popen(
        [PROGRAM, *words, "--results", str(results)], stdout=other, stderr=other,
        env={**environment, "TERM": "xterm", "NO_COLOR": "1"},
    ) as running:  # fmt: skip
        os.close(other)
        seen = b""
        while True:
            try:
                part = os.read(own, 65536)
            except OSError:  # Linux says so at the end
                break
            if not part:
                break
            seen += part
        running.wait()
    os.close(own)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert max(len(line.rstrip("\r")) for line in text.splitlines()) <= 44
    wanted = [f"{a.record.metrics.miou:.2f}" for a in run_results(results) if a.record.metrics]
    if words == ("list", "runs"):
        assert [n for n in wanted if n not in text] == []
    elif words == ("report",):
        table = tables(results)["scores"]
        assert [n for row in table.rows for n in numbers(row[4:9]) if n not in text] == []
    else:
        assert "111.46" in text
