"""Tests of the help texts."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app


def commands(command: Any, name: str = "cdfss-bench") -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, f"{name} {word}")


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described_in_whole_sentences(name: str) -> None:
    command = COMMANDS[name]
    assert command.help.rstrip().endswith((".", "cdfss-bench train -m hsnet"))
    for parameter in command.params:
        assert parameter.help.endswith("."), f"{name}: {parameter.name}"
        assert parameter.help[0].isupper(), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_text_loses_words_in_brackets(name: str) -> None:
    # What rich takes for a style tag is not printed.
    for parameter in COMMANDS[name].params:
        assert not re.search(r"(?<!\\)\[", parameter.help), f"{name}: {parameter.name}"


def shown(name: str) -> list[str]:
    """The lines of a command's help on a screen of 80 characters."""
    words = [*name.split()[1:], "--help"]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_at_80_characters_no_word_of_the_help_is_cut(name: str) -> None:
    lines = shown(name)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    text = " ".join(line.strip("│ ") for line in lines)
    for parameter in COMMANDS[name].params:
        variables = parameter.envvar or []
        for variable in [variables] if isinstance(variables, str) else variables:
            assert f"{variable}]" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_sentences_of_the_help_fill_the_screen(name: str) -> None:
    prose = [line[1:] for line in shown(name) if line.startswith(" ")]
    text = "\n".join(prose).partition("\n\n")[2]
    for paragraph in filter(None, re.split(r"\n{2,}", text)):
        lines = paragraph.splitlines()
        for line, following in pairwise(lines):
            assert len(f"{line} {following.split()[0]}") > 77, paragraph


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_are_described_without_types_of_the_language(name: str) -> None:
    assert not re.search(r"<(list|str|path|int|float)\b", "\n".join(shown(name)))


@pytest.mark.parametrize("columns", ["20", "40", "60"])
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_narrow_screen_names_are_whole(name: str, columns: str) -> None:
    words = [*name.split()[1:], "--help"]
    text = CliRunner().invoke(app, words, env={"COLUMNS": columns}).stdout
    assert "…" not in text
    assert "\\" not in text
    for parameter in COMMANDS[name].params:
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert option in text
    for sub in getattr(COMMANDS[name], "commands", {}).values():
        first = sub.help.split(".")[0].split()
        assert re.search(r"\s+".join(map(re.escape, first)), text)
