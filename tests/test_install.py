"""The wheel in an environment of its own, beside Hugging Face's `datasets`."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from .conftest import CHECKOUT

pytestmark = pytest.mark.install


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, CHECKOUT, cwd=folder)
    (built,) = folder.glob("cdfss_bench-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with Hugging Face's package, then the wheel; torch is borrowed from ours."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    inside = folder / "venv" / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", "datasets", cwd=folder)
    run(inside, "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=folder)
    borrowed = Path(torch.__file__).parents[1]
    (theirs,) = (folder / "venv").glob("lib/python*/site-packages")
    # Behind its own site-packages, so that nothing of ours hides what was installed here.
    (theirs / "borrowed.pth").write_text(f"import sys; sys.path.append({str(borrowed)!r})\n")
    return inside


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"cdfss_bench"}
    for needed in (
        "cdfss_bench/py.typed",
        "cdfss_bench/methods/aliases/loec.yaml",
        "cdfss_bench/methods/backbones/resnet50.yaml",
        "cdfss_bench/methods/pretrained/resnet-mini.safetensors",
        "cdfss_bench/datasets/mini/lesion.py",
        "cdfss_bench/bench/cli/run.py",
        "cdfss_bench/bench/reporting/html/templates/report.html.j2",
    ):
        assert needed in names
    results = [name for name in names if name.startswith("cdfss_bench/results/")]
    assert results == ["cdfss_bench/results/published.csv"]


def test_both_packages_called_datasets_work(python: Path, tmp_path: Path) -> None:
    code = (
        "import datasets, cdfss_bench.datasets as ours; "
        "table = datasets.Dataset.from_dict({'a': [1, 2]}); "
        "print(len(table), len(ours.open_domain('mini-chest').classes))"
    )
    assert run(python, "-c", code, cwd=tmp_path).split() == ["2", "1"]


def test_the_installed_program_runs_the_main_job(python: Path, tmp_path: Path) -> None:
    program = python.with_name("cdfss-bench")
    words = ["run", "--method", "loec", "--shots", "5", "--episodes", "2", "--device", "cpu"]
    assert "mini suite, 5-shot mIoU" in run(program, *words, cwd=tmp_path)


def test_the_installed_program_knows_the_published_figures(python: Path, tmp_path: Path) -> None:
    words = ["report", "--results", CHECKOUT / "results" / "sample", "--against", "published"]
    shown = run(python.with_name("cdfss-bench"), *words, cwd=tmp_path)
    assert "published, 1-shot (%), and ours with the difference" in shown
    assert "PATNet (2022)" in shown
