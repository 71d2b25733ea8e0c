"""A new method begins as one that runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdfss_bench.bench.scaffold.method import write_method
from cdfss_bench.errors import UserError

from ...support.program import typed


def passes_and_is_clean(folder: str, tests: int, *, cwd: Path, **environment: str) -> None:
    """So many tests of a folder pass, and ruff finds nothing in it."""
    own = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", folder],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert f"{tests} passed" in own.stdout, own.stdout
    linted = subprocess.run(
        [Path(sys.executable).parent / "ruff", "check", "--isolated", folder],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout


def test_what_is_written_keeps_the_contract_runs_and_trains(tmp_path: Path) -> None:
    made = typed("new method my-idea", tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == [
        "my-idea/my_idea.py",
        "my-idea/my-idea.yaml",
        "my-idea/test_my_idea.py",
    ]
    checked = typed("check method my-idea my-idea+lem+lcm --plugin my-idea", tmp_path)
    assert checked.returncode == 0, checked.stdout
    assert "26 of 26 checks passed" in checked.stderr
    words = "train -m my-idea --source mini --plugin my-idea --episodes 16 -o w"
    trained = typed(words, tmp_path)
    assert trained.returncode == 0, trained.stderr
    words = "run -m my-idea -m my-idea+lcm --plugin my-idea -d mini-chest --episodes 2"
    run = typed(f"{words} --weights-dir w --json", tmp_path)
    assert run.returncode == 0, run.stderr
    assert "trained on mini-source" in run.stdout
    passes_and_is_clean("my-idea", 13, cwd=tmp_path)


def test_a_broken_method_is_reported_with_exit_code_1(tmp_path: Path) -> None:
    write_method("worse", tmp_path, package=False)
    module = tmp_path / "worse.py"
    module.write_text(module.read_text().replace("self.scale * cosines", "cosines / 0"))
    done = typed("check method worse --plugin . --json", tmp_path)
    assert done.returncode == 1
    findings = {f["check"]: f["problem"] for f in json.loads(done.stdout)["worse"]}
    assert findings["scores are finite and decide"] == "logits are not finite"
    assert findings["no step is handed the mask of the query"] == ""


def test_a_package_installed_beside_ours_is_found(tmp_path: Path) -> None:
    write_method("far-away", tmp_path / "package", package=True)
    installed = subprocess.run(
        [
            *[sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"],
            *["--no-index", "--target", str(tmp_path / "site"), str(tmp_path / "package")],
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert installed.returncode == 0, installed.stderr
    path = str(tmp_path / "site")
    listed = typed("list methods far-* --json", tmp_path, PYTHONPATH=path)
    assert [card["name"] for card in json.loads(listed.stdout)] == ["far-away"]
    checked = typed("check method far-away", tmp_path, PYTHONPATH=path)
    assert checked.returncode == 0, checked.stdout
    unknown = typed("check method far-away", tmp_path)
    assert unknown.returncode == 2
    assert "unknown method 'far-away'" in unknown.stderr


@pytest.mark.parametrize("name", ["Upper", "my method", "9lives", "../up", "import"])
def test_a_name_that_cannot_be_typed_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be a method's name"):
        write_method(name, tmp_path, package=False)


def test_nothing_is_overwritten_and_no_name_taken_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_method("ssp", tmp_path, package=False)
    write_method("mine", tmp_path, package=False)
    (tmp_path / "mine.py").write_text("# changed\n")
    with pytest.raises(UserError, match=r"mine\.py already exists"):
        write_method("mine", tmp_path, package=False)
    assert (tmp_path / "mine.py").read_text() == "# changed\n"
