"""What `train` and `convert` end with: a command that runs with just the weights they wrote."""

import shlex
from pathlib import Path

import pytest

from cdfss_bench.bench.cli.next_command import say_how_to_train

from ...support.shown import typed

RUN = ["-d", "mini-lesion", "--episodes", "1", "--no-cost"]
TRAIN = ["train", "--source", "mini", "--episodes", "1", "--batch", "1"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path / "kept"))


def next_commands(*words: str) -> list[list[str]]:
    done = typed(*words)
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    found = [line.removeprefix("next: ") for line in lines if line.startswith("next: ")]
    assert lines[-1].startswith("next: ")
    return [shlex.split(line) for line in found]


def weights_told(command: list[str]) -> str:
    """What a `run` command says of the weights with which it runs."""
    ran = typed(*command[1:], *RUN)
    assert ran.exit_code == 0, ran.output
    return next(line for line in ran.stderr.splitlines() if ".safetensors)" in line)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["-m", "ssp"], []),
        (["-m", "ssp", "-o", "my weights"], ["--weights-dir", "my weights"]),
        (
            ["-m", "ssp", "--sam", "0.05"],
            ["--weights", str(Path("weights", "ssp-sam0.05-resnet-mini.safetensors"))],
        ),
    ],
)
def test_the_command_after_a_training_runs_with_its_weights(
    typed: list[str], told: list[str]
) -> None:
    (command,) = next_commands(*TRAIN, *typed)
    start = ["cdfss-bench", "run", "-m", "ssp", "--backbone", "resnet-mini"]
    assert command == [*start, *told, "--suite", "mini"]
    assert "episodes 1" in weights_told(command)


def test_seeds_of_a_training_have_a_command_each() -> None:
    commands = next_commands(*TRAIN, "-m", "ssp", "--seed", "0..1", "-o", "out")
    folders = [command[command.index("--weights-dir") + 1] for command in commands]
    assert folders == [str(Path("out", f"seed={seed}")) for seed in (0, 1)]


def test_an_option_of_test_time_runs_with_the_same_weights() -> None:
    next_commands(*TRAIN, "-m", "ssp+lem")
    for method in ("ssp[size=96]+lem", "ssp+lem+lcm[k=5]"):
        assert "(ssp+lem-resnet-mini.safetensors)" in weights_told(
            ["cdfss-bench", "run", "-m", method]
        )


def test_methods_of_one_backbone_share_a_command() -> None:
    (command,) = next_commands(*TRAIN, "-m", "ssp", "-m", "loec")
    assert command[:6] == ["cdfss-bench", "run", "-m", "ssp", "-m", "loec"]


def test_a_pretrained_backbone_is_trained_on_next(capsys: pytest.CaptureFixture[str]) -> None:
    say_how_to_train("resnet-mini", Path("own", "resnet-mini.safetensors"), on_mini=True, data=())
    say_how_to_train("sam-vit-b", Path("own", "x.pth"), on_mini=False, data=["--data-root", "D"])
    assert capsys.readouterr().err.splitlines() == [
        f"next: cdfss-bench train -m {words} --weights-dir own"
        for words in (
            "ssp --backbone resnet-mini --source mini",
            "apseg --backbone sam-vit-b --source pascal --data-root D",
        )
    ]
