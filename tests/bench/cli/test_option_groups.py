"""Tests of options that several verbs share."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from cdfss_bench.bench.cli.option_groups import Only, expand_groups


@dataclass(frozen=True)
class Colours:
    names: Annotated[list[str] | None, typer.Option("--name", "-n", help="A colour.")] = None
    count: Annotated[int, typer.Option(min=1, envvar="COLOUR_COUNT", help="How many.")] = 2


@expand_groups
def paint(colours: Colours, *, wet: Annotated[bool, typer.Option("--wet")] = False) -> None:
    """Paint something."""
    typer.echo(f"{colours.names} {colours.count} {wet}")


@expand_groups
def count_only(colours: Annotated[Colours, Only("count")]) -> None:
    typer.echo(f"{colours.names} {colours.count}")


def output(command: object, *words: str, code: int = 0, **environment: str) -> str:
    app = typer.Typer()
    app.command()(command)  # type: ignore[arg-type]
    done = CliRunner().invoke(app, list(words), env=environment)
    assert done.exit_code == code
    return done.output.strip()


def test_each_field_of_a_group_is_an_option_with_its_type_and_default() -> None:
    assert output(paint) == "None 2 False"
    assert output(paint, "-n", "red", "--name", "blue", "--wet") == "['red', 'blue'] 2 True"
    assert output(paint, COLOUR_COUNT="7") == "None 7 False"
    assert "Invalid value" in output(paint, "--count", "0", code=2)


def test_the_help_of_a_field_is_shown() -> None:
    shown = output(paint, "--help")
    assert all(words in shown for words in ("A colour.", "How many.", "Paint something."))


def test_only_some_fields_of_a_group_are_options() -> None:
    assert list(inspect.signature(count_only).parameters) == ["count"]
    assert output(count_only, "--count", "3") == "None 3"


def test_a_field_that_the_group_lacks_is_refused() -> None:
    def wrong(colours: Annotated[Colours, Only("shade")]) -> None: ...

    with pytest.raises(ValueError, match="Colours has no field shade"):
        expand_groups(wrong)
