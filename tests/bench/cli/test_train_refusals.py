"""Tests of options of `train` that would change nothing: each is refused with what it needs."""

import pytest
import typer
from typer.testing import CliRunner

from cdfss_bench.bench.cli.train import train
from cdfss_bench.errors import UserError


def refusal(words: str, variables: dict[str, str] | None = None) -> UserError | None:
    app = typer.Typer()
    app.command()(train)
    done = CliRunner().invoke(app, words.split(), env=variables)
    return done.exception if isinstance(done.exception, UserError) else None


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        ("--episodes 8 --epochs 1", "--episodes and --epochs both say", "leave one"),
        ("--val-episodes 4", "--val-episodes has no effect", "add --select source-val"),
        ("--validate-every 0.2", "--validate-every has no effect", "add --select source-val"),
        ("--eval-episodes 4", "--eval-episodes has no effect", "add --eval-targets-every"),
        ("-d mini-lesion", "--domain has no effect", "add --eval-targets-every"),
        ("--run-episodes 4", "--run-episodes has no effect", "type it after run"),
        ("--run-shots 5", "--run-shots has no effect", "type it after run"),
        ("--oracle", "--oracle has no effect", "add --select target-oracle"),
    ],
)
def test_what_would_change_nothing_is_refused(words: str, problem: str, hint: str) -> None:
    error = refusal(f"-m ssp --source mini {words}")
    assert error is not None
    assert error.problem.startswith(problem)
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("-m ssp", "--method"),
        ("--episodes 8", "--episodes"),
        ("--plan lem-lcm", "--plan"),
        ("--select source-val", "--select"),
        ("--ema 0.9", "--ema"),
    ],
)
def test_pretraining_refuses_what_its_recipe_does_not_have(words: str, option: str) -> None:
    error = refusal(f"--pretrain --source mini {words}")
    assert error is not None
    assert error.problem.endswith(f"has no {option}")


def test_pretraining_has_one_seed() -> None:
    error = refusal("--pretrain --source mini --seed 0..2")
    assert error is not None
    assert error.hint == "name one seed"


def test_variables_that_are_set_for_other_commands_are_no_mistake() -> None:
    variables = {"CDFSS_EPISODES": "4", "CDFSS_DOMAIN": "mini-lesion", "CDFSS_SHOTS": "5"}
    # The first thing that is wrong comes after these checks: there is no such method.
    error = refusal("-m nosuch --source mini", variables)
    assert error is not None
    assert error.problem == "unknown method 'nosuch'"
