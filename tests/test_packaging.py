"""What is packed, and what an import costs."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import cdfss_bench

from .conftest import CHECKOUT
from .support.imports import API_MODULES, FOLDERS, package_folders, package_name
from .support.program import PROGRAM, program

LINKS = CHECKOUT / ".typings" / "cdfss_bench"


def setuptools_table() -> dict[str, Any]:
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["tool"]["setuptools"]


def loaded_by(*command: str, tmp_path: Path) -> set[str]:
    """Top-level packages that a fresh interpreter imports while it runs `command`."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_every_package_folder_is_listed_and_every_listed_package_is_a_folder() -> None:
    code = sorted(map(package_name, package_folders()))
    assert sorted(setuptools_table()["packages"]) == sorted([*code, "cdfss_bench.results"])


def test_the_package_directories_map_to_the_three_folders_and_the_results() -> None:
    assert setuptools_table()["package-dir"] == {
        "cdfss_bench": "bench/api",
        "cdfss_bench.bench": "bench",
        "cdfss_bench.methods": "methods",
        "cdfss_bench.datasets": "datasets",
        "cdfss_bench.results": "results",
    }


def test_every_data_file_of_a_package_is_packed() -> None:
    patterns = setuptools_table()["package-data"]
    folders = package_folders()
    packed: list[Path] = []
    for folder in folders:
        for pattern in patterns.get(package_name(folder), []):
            packed += folder.glob(pattern)
    data = {
        path
        for name in FOLDERS
        for path in (CHECKOUT / name).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert sorted(data - set(packed)) == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (CHECKOUT / "bench" / "api" / "py.typed").is_file()


@pytest.mark.parametrize("path", [*FOLDERS, *(f"bench/api/{name}" for name in API_MODULES)])
def test_the_type_checker_finds_each_folder_and_each_module_of_the_api(path: str) -> None:
    assert (LINKS / Path(path).name).resolve() == (CHECKOUT / path).resolve()


def test_no_link_of_the_type_checker_dangles() -> None:
    assert [link.name for link in LINKS.iterdir() if not link.exists()] == []


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = loaded_by("-c", "import cdfss_bench", tmp_path=tmp_path)
    assert "cdfss_bench" in loaded
    assert not loaded & {"torch", "numpy", "pandas", "pydantic", "PIL"}


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], {"pandas", "numpy", "jinja2"}),
        (["list", "methods"], {"jinja2"}),
        (["list", "domains"], {"jinja2"}),
        (["report", "--results", CHECKOUT / "results" / "committed"], set[str]()),
        (["diagnose", "--help"], set[str]()),
    ],
)
def test_commands_that_compute_nothing_load_nothing_heavy(
    words: list[str], absent: set[str], tmp_path: Path
) -> None:
    loaded = loaded_by(PROGRAM, *map(str, words), tmp_path=tmp_path)
    assert "typer" in loaded
    assert not loaded & {"scipy", "torch", *absent}


def test_a_method_plugin_folder_leaves_the_list_of_domains_alone(tmp_path: Path) -> None:
    card = "title: Mine\nkind: control\nclass: net:Net\nsummary: a method of one's own\n"
    (tmp_path / "mine.yaml").write_text(card)
    listed = {
        what: program("list", what, "--plugin", tmp_path, check=True).stdout
        for what in ("methods", "domains")
    }
    assert "a method of one's own" in listed["methods"]
    assert "a method of one's own" not in listed["domains"]
    assert "fss1000" in listed["domains"]


def test_the_datasets_folder_refuses_to_be_imported_by_its_bare_name() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-c", "import datasets"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: this is the datasets/ folder of a cdfss-bench checkout, not Hugging Face's "
        "package: run from another directory, or with python -P, to import the latter; ours is "
        "cdfss_bench.datasets"
    )


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("build", "cdfss_bench.bench.python.building"),
        ("predict", "cdfss_bench.bench.python.predicting"),
        ("run", "cdfss_bench.bench.python.running"),
        ("read_results", "cdfss_bench.bench.python.reading"),
        ("open_domain", "cdfss_bench.datasets.core.registry"),
        ("evaluate", "cdfss_bench.bench.evaluation.evaluator"),
        ("read_runs", "cdfss_bench.bench.records.schema"),
    ],
)
def test_the_public_names_are_those_of_their_homes(name: str, home: str) -> None:
    assert getattr(cdfss_bench, name).__module__ == home
    assert name in dir(cdfss_bench)


def test_public_names_are_loaded_when_first_used(tmp_path: Path) -> None:
    program = (
        "import sys, cdfss_bench; before = 'cdfss_bench.datasets' in sys.modules; "
        "cdfss_bench.open_domain; print(before, 'cdfss_bench.datasets' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'biuld'"):
        getattr(cdfss_bench, "biuld")  # noqa: B009
