"""Tests of the help texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

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
