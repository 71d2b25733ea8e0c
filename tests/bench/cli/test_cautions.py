"""Tests of warnings about weights: the command that they print must run as it stands."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cdfss_bench.bench.cli.cautions import warn_of_weights
from cdfss_bench.cards import Origin
from cdfss_bench.methods.registry.name_grammar import METHODS, parse


def warned(capsys: pytest.CaptureFixture[str], *, on_mini: bool) -> str:
    weights = SimpleNamespace(kind=lambda _: "not source-trained", backbone="b", is_toy=False)
    warn_of_weights([(parse("ssp"), cast("Any", weights), on_mini)])
    return capsys.readouterr().err


def test_the_source_of_the_training_is_that_of_the_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "train -m 'ssp' --backbone b --source mini, and" in warned(capsys, on_mini=True)
    told = warned(capsys, on_mini=False)
    assert "train -m 'ssp' --backbone b --source pascal --data-root DIR, and" in told
    assert "--plugin" not in told


def test_the_folder_of_a_plug_in_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = Origin(tmp_path / "my net" / "ssp.yaml", None)
    monkeypatch.setattr(METHODS, "origin", lambda _: origin)
    monkeypatch.chdir(tmp_path)
    told = warned(capsys, on_mini=True)
    assert "--source mini --plugin 'my net', and" in told
    assert told.rstrip().endswith("convert FILE -m 'ssp' --backbone b --plugin 'my net'")
