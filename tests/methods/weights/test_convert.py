"""Authors' checkpoints: read safely, checked, found by `run` afterwards."""

import pickle
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.errors import WeightsError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights.card import read_card
from cdfss_bench.methods.weights.convert import convert
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import resolve_weights

from ...support.contract import same_tensors

HSNET = "hsnet[widths=8-16-32]"
MINI = "resnet-mini"


def published(path: Path, extra: str = "") -> Method:
    """A checkpoint as authors leave it: DataParallel's prefix, and more than is needed."""
    network = seeded(build(HSNET, backbone=MINI))
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({**state, **({f"module.{extra}": torch.zeros(2, 2)} if extra else {})}, path)
    return network


def test_a_published_file_goes_round(tmp_path: Path) -> None:
    network = published(tmp_path / "best.pt", "backbone.fc.weight")
    output = tmp_path / "weights" / "hsnet.safetensors"
    left = convert(
        tmp_path / "best.pt", output, parse(HSNET), backbone=MINI, selection="target-oracle"
    )
    assert left == ["backbone.fc.weight"]
    card = read_card(output)
    assert card is not None
    assert (card.trained_as, card.backbone, card.selection) == (HSNET, MINI, "target-oracle")
    assert card.origin.startswith("best.pt (sha256 ")
    weights = resolve_weights(parse(HSNET + "+lcm"), backbone=MINI, folders=[output.parent])
    assert (weights.checkpoint, weights.pretrained) == (output, None)
    assert weights.selection == "target-oracle"
    loaded = build(HSNET, backbone=MINI)
    load_weights(loaded, weights)
    same_tensors(loaded.state_dict(), network.state_dict())


def test_a_file_of_another_network_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    published(tmp_path / "best.pt", "foreign")
    output = tmp_path / "hsnet.safetensors"
    with pytest.raises(WeightsError, match="'foreign'"):
        convert(tmp_path / "best.pt", output, parse(HSNET), backbone=MINI)
    published(tmp_path / "best.pt")
    with pytest.raises(WeightsError, match="expects"):
        convert(tmp_path / "best.pt", output, parse("hsnet"), backbone=MINI)
    assert not output.exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    published(tmp_path / "best.pt")
    output = tmp_path / "hsnet.safetensors"
    output.write_bytes(b"precious")
    with pytest.raises(WeightsError, match="already exists"):
        convert(tmp_path / "best.pt", output, parse(HSNET), backbone=MINI)
    assert output.read_bytes() == b"precious"


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, ("executed", "w"))


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(WeightsError, match="read safely"):
        convert(Path("evil.pth"), Path("out.safetensors"), parse(HSNET), backbone=MINI)
    assert not Path("executed").exists()


def test_the_command_writes_where_run_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path / "here"))
    published(tmp_path / "best.pt", "backbone.fc.weight")
    words = ["weights", "convert", str(tmp_path / "best.pt"), "-m", HSNET, "--backbone", MINI]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "left out, since nothing computes with them: backbone.fc.weight" in done.stderr
    assert [p.name for p in (tmp_path / "here").iterdir()] == [f"{HSNET}-{MINI}.safetensors"]
    told = f"next: cdfss-bench run -m '{HSNET}' --backbone {MINI}\n"
    assert done.stderr.endswith(f"{HSNET}-{MINI}.safetensors\n{told}")
    run = ["run", "-m", HSNET, "-d", "mini-chest", "--episodes", "1", "--no-cost"]
    ran = CliRunner().invoke(app, [*run, "--results", str(tmp_path / "results")])
    assert ran.exit_code == 0, ran.output
    assert f"({HSNET}-{MINI}.safetensors)\n" in ran.stderr
    wrong = CliRunner().invoke(app, [*words, "--selection", "best"])
    assert isinstance(wrong.exception, Exception)
    assert "selection rule" in str(wrong.exception)
