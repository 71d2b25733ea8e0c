"""TAB in a shell: what is offered can run here."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.cli.report_options import FORMATS, STYLES
from cdfss_bench.bench.comparison.leaderboard import ORDERS
from cdfss_bench.bench.executors import EXECUTORS
from cdfss_bench.bench.statistics.metrics import METRICS
from cdfss_bench.datasets.core.domain import PROTOCOLS
from cdfss_bench.methods.weights.card import SELECTIONS
from cdfss_bench.methods.weights.search import PACKAGED

from ...support import trees

Offered = Callable[[str], list[str]]


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What bash offers at the end of a line; the last word may be empty."""
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path / "none"))

    def offer(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        environment = {**words, "_CDFSS_BENCH_COMPLETE": "complete_bash"}
        done = CliRunner().invoke(app, [], env=environment, prog_name="cdfss-bench")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.output.split()

    return offer


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cdfss-bench run -m loe", {"loec", "loec-vit"}),
        ("cdfss-bench run -m all", {"all-background", "all-foreground"}),
        ("cdfss-bench run -m ssp+l", {"ssp+lcm", "ssp+lcm-shift", "ssp+lem"}),
        ("cdfss-bench run -m hsnet --backbone ", {"resnet-mini"}),
        ("cdfss-bench run --backbone vit-", {"vit-mini"}),
        ("cdfss-bench run --backbone resnet50-d", {"resnet50-deep"}),
        ("cdfss-bench run -d mini-l", {"mini-landcover", "mini-lesion"}),
        ("cdfss-bench run -d isi", {"isic"}),
        ("cdfss-bench weights convert x -m hsn", {"hsnet"}),
        ("cdfss-bench weights fetch dinov2-s", {"dinov2-s14", "dinov2-s14-reg"}),
        ("cdfss-bench data fetch suim is", {"isaid", "isic"}),
        ("cdfss-bench list domains kv", {"kvasir"}),
        ("cdfss-bench run -m nonsuch+", set[str]()),
    ],
)
def test_names(offered: Offered, line: str, expected: set[str]) -> None:
    assert set(offered(line)) == expected


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("report --format", FORMATS),
        ("report --style", STYLES),
        ("report --metric", tuple(METRICS)),
        ("report --sort", ORDERS),
        ("report --protocol", PROTOCOLS),
        ("run --protocol", PROTOCOLS),
        ("run --executor", EXECUTORS),
        ("weights convert x --selection", SELECTIONS),
        ("train --select", tuple(word for word in SELECTIONS if word != "unknown")),
        ("train --optimizer", ("sgd", "adam", "adamw")),
        ("run --suite", ("mini", "cdfss", "extended")),
        ("score x --adaptation", ("none", "episode", "transductive")),
    ],
)
def test_words_of_an_option(offered: Offered, option: str, known: tuple[str, ...]) -> None:
    assert set(offered(f"cdfss-bench {option} ")) == set(known)
    word = max(known, key=len)
    assert word in offered(f"cdfss-bench {option} {word[:3]}")


def test_domains_are_those_whose_data_are_here(offered: Offered, tmp_path: Path) -> None:
    every = offered("cdfss-bench data check ")
    here = offered("cdfss-bench run -d ")
    assert set(here) == {name for name in every if name.startswith("mini-")}
    trees.write_isic(tmp_path, {number: range(number, 9, 3) for number in (1, 2, 3)})
    found = offered(f"cdfss-bench run --data-root {tmp_path} -d ")
    assert set(found) == {*here, "isic"}


def test_weights_are_the_files_of_the_method(offered: Offered, tmp_path: Path) -> None:
    shutil.copy(PACKAGED / "hsnet-resnet-mini.safetensors", tmp_path / "mine.safetensors")
    line = f"cdfss-bench run --weights-dir {tmp_path} -m hsnet --weights "
    expected = [tmp_path / "mine.safetensors", PACKAGED / "hsnet-resnet-mini.safetensors"]
    assert offered(line) == [str(path) for path in expected]
    assert offered(f"{line}{tmp_path}") == [str(expected[0])]


def test_runs_are_those_of_the_results_folder(offered: Offered, tmp_path: Path) -> None:
    line = "run -m prototype -m all-foreground -d mini-lesion --episodes 1 --no-cost --results"
    assert CliRunner().invoke(app, [*line.split(), str(tmp_path)]).exit_code == 0
    for verb in ("compare", "runs rm", "list runs"):
        assert offered(f"cdfss-bench {verb} --results {tmp_path} p") == ["prototype"]
    (folder,) = offered(
        f"cdfss-bench verify --results {tmp_path} {tmp_path}/runs/mini-lesion-1shot/p"
    )
    assert (Path(folder) / "run.json").is_file()


def test_completion_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom cdfss_bench.bench.cli import app\n"
        "try:\n    app(prog_name='cdfss-bench')\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules"
    )
    words = {"COMP_WORDS": "cdfss-bench run -m ", "COMP_CWORD": "3"}
    environment = {**words, "_CDFSS_BENCH_COMPLETE": "complete_bash", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "loec" in done.stdout.split()
