"""Tests of what variables of the environment mean."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.cli.variables import forget_blank_variables

from ...support.program import program


def test_blank_variables_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDFSS_DATA_ROOT", " \t")
    monkeypatch.setenv("CDFSS_LISTS", " a ")
    forget_blank_variables()
    assert "CDFSS_DATA_ROOT" not in os.environ
    assert os.environ["CDFSS_LISTS"] == " a "


def test_a_command_passes_over_blank_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATA_ROOT", "PLUGIN", "SUITE", "DEVICE", "BATCH", "EXECUTOR", "LISTS"):
        monkeypatch.setenv(f"CDFSS_{name}", " ")
    done = program("run", "-m", "prototype", "--dry-run", "--results", tmp_path)
    assert (done.returncode, "mini-lesion" in done.stdout) == (0, True)


def test_brackets_keep_a_value_of_a_variable_together() -> None:
    names = {
        "CDFSS_METHOD": " ssp+lcm[k=5, beta=0.6] prototype,all-foreground",
        "CDFSS_DOMAIN": "mini-lesion,mini-chest",
        "CDFSS_SEED": " 0 , 2..3",
    }
    done = CliRunner().invoke(app, ["run", "--dry-run", "--json"], env=names)
    assert done.exit_code == 0, done.output
    assert done.stdout.count('"name"') == 3 * 2 * 3
    names = {"CDFSS_METHOD": "prototype", "CDFSS_DOMAIN": "folder[path=/no such folder]"}
    words = ["run", "--dry-run", "--json", "--backbone", "resnet-mini"]
    done = CliRunner().invoke(app, words, env=names)
    (cell,) = json.loads(done.stdout)
    assert "folder[path=no such folder]" in cell["name"]


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_an_unknown_executor_is_refused_before_anything_is_looked_for(words: list[str]) -> None:
    done = program("run", "-m", "prototype", "--suite", "mini", "--executor", "rai", *words)
    assert done.returncode == 2
    assert done.stderr == ("error: unknown value 'rai' of --executor\n  hint: did you mean ray?\n")
