"""A new domain begins as one that is read and run."""

import json
from pathlib import Path

import pytest

from cdfss_bench.bench.scaffold.domain import write_domain
from cdfss_bench.errors import UserError

from ...support.program import typed
from .test_method import passes_and_is_clean


def test_what_is_written_is_checked_and_run_at_once(tmp_path: Path) -> None:
    made = typed("new domain my-data", tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == [
        "my-data/my_data.py",
        "my-data/my-data.yaml",
        "my-data/test_my_data.py",
    ]
    assert len(list((tmp_path / "my-data-data").rglob("*.png"))) == 24
    where = "--data-root my-data-data --plugin my-data"
    checked = typed(f"data check my-data --full --json {where}", tmp_path)
    assert checked.returncode == 0, checked.stdout
    (report,) = json.loads(checked.stdout)
    assert report["profile"] == "my-data-12"
    assert report["findings"] == []
    small = "-m prototype --backbone resnet-mini --episodes 2 --no-cost"
    run = typed(f"run -d my-data {small} -k 5 --json {where}", tmp_path)
    assert run.returncode == 0, run.stderr
    assert "my-data" in run.stdout


def test_its_test_passes_and_it_is_clean(tmp_path: Path) -> None:
    write_domain("my-data", tmp_path / "mine", package=False, examples=tmp_path / "pictures")
    root = str(tmp_path / "pictures")
    passes_and_is_clean("mine", 2, cwd=tmp_path, CDFSS_DATA_ROOT=root)


def test_a_mask_that_is_missing_is_named(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    write_domain("my-data", tmp_path / "mine", package=False, examples=root)
    (root / "my-data" / "masks" / "duck" / "003.png").unlink()
    checked = typed("data check my-data --data-root pictures --plugin mine", tmp_path)
    assert checked.returncode == 2
    assert "duck/003.png has no mask" in checked.stdout + checked.stderr


def test_a_package_announces_the_domain(tmp_path: Path) -> None:
    write_domain("far-data", tmp_path / "package", package=True, examples=tmp_path / "pictures")
    text = (tmp_path / "package" / "pyproject.toml").read_text()
    assert '[project.entry-points."cdfss_bench.domains"]\nfar-data = "cdfss_far_data"' in text
    assert (tmp_path / "package" / "cdfss_far_data" / "__init__.py").is_file()


@pytest.mark.parametrize("name", ["Upper", "my data", "9lives", "../up", "import"])
def test_a_name_that_cannot_be_typed_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be a domain's name"):
        write_domain(name, tmp_path, package=False, examples=tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_nothing_is_overwritten_and_no_name_taken_twice(tmp_path: Path) -> None:
    def write(name: str) -> None:
        write_domain(name, tmp_path, package=False, examples=tmp_path / "pictures")

    with pytest.raises(UserError, match="exists already"):
        write("isic")
    (tmp_path / "pictures" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="mine already exists"):
        write("mine")
    assert not (tmp_path / "mine.py").exists()
    (tmp_path / "pictures" / "mine").rmdir()
    write("mine")
    with pytest.raises(UserError, match="already exists"):
        write("mine")
