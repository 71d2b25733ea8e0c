"""What the help says of options, and what a command answers that is not there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.errors import UserError


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


@pytest.mark.parametrize("words", [(), ("run",), ("report",), ("data", "check"), ("check",)])
def test_options_are_described_without_types_of_the_language(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    options = [line for line in text.splitlines() if line.startswith("│ --")]
    assert options
    assert not [line for line in options if re.search(r"<\w|list\[|Path\]", line)]


def test_a_flag_is_shown_to_take_nothing() -> None:
    (line,) = [line for line in help_of("run").splitlines() if "--dry-run" in line]
    assert re.search(r"--dry-run +Show", line)
    (line,) = [line for line in help_of("run").splitlines() if "--results" in line]
    assert re.search(r"--results +PATH +Folder", line)


@pytest.mark.parametrize("words", [("compare",), ("runs", "rm"), ("report",)])
def test_verbs_that_read_records_say_that_all_are_meant(words: tuple[str, ...]) -> None:
    limits = help_of(*words).partition("Which records")[2].partition("╰")[0]
    assert "1 by default" not in limits
    assert limits.count("by default") >= 5


def test_variables_set_for_run_limit_no_leaderboard() -> None:
    text = help_of("report")
    assert "CDFSS_PLUGIN" in text
    assert "CDFSS_SHOTS" not in text
    assert "CDFSS_SHOTS" in help_of("compare")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (("evaluate", "-m", "ssp"), "cdfss-bench run"),
        (("leaderboard",), "cdfss-bench report"),
        (("help",), "cdfss-bench --help"),
        (("list", "weights"), "cdfss-bench weights list"),
        (("list", "backbones"), "cdfss-bench weights list"),
        (("fetch", "isic"), "cdfss-bench data fetch or cdfss-bench weights fetch"),
        (("rm", "ssp"), "cdfss-bench runs rm"),
        (("run", "ssp+lem"), "name methods with -m: -m ssp+lem"),
    ],
)
def test_what_is_called_otherwise_here_is_named(typed: tuple[str, ...], hint: str) -> None:
    error = CliRunner().invoke(app, typed).exception
    assert isinstance(error, UserError)
    assert error.hint == hint


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    done = CliRunner().invoke(app, ["vreify"])
    assert done.exit_code == 2
    assert "verify" in done.output


def test_no_records_are_said_and_not_an_empty_table(tmp_path: Path) -> None:
    for words in (["list", "runs"], ["runs"]):
        done = CliRunner().invoke(app, [*words, "--results", str(tmp_path)])
        assert (done.exit_code, done.stdout) == (0, "")
        assert "there are no records under" in done.stderr
    asked = ["list", "runs", "--json", "--results", str(tmp_path)]
    assert CliRunner().invoke(app, asked).stdout.strip() == "[]"
