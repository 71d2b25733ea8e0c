"""One record that cannot be read never hides the others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench.bench.records.cell_folder import CellFolder
from cdfss_bench.bench.records.schema import record_paths

from ...support.records import write_cell
from ...support.shown import typed


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:50])


def newer(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))


def without_rows(path: Path) -> None:
    CellFolder(path.parent).rows.unlink()


def other_rows(path: Path) -> None:
    rows = CellFolder(path.parent).rows
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[1:]))


DAMAGES = [(cut, "readable"), (newer, "schema 99"), (without_rows, "read"), (other_rows, "hold")]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for method in ("ssp", "loec", "hsnet"):
        write_cell(tmp_path, method)
    return tmp_path


def damage(results: Path, how: Callable[[Path], None]) -> str:
    (path,) = (p for p in record_paths(results) if "hsnet" in str(p))
    how(path)
    return str(path.parent)


@pytest.mark.parametrize(("how", "said"), DAMAGES)
@pytest.mark.parametrize("form", ["table", "md", "csv", "json", "html"])
def test_the_board_is_shown_without_it_and_names_it(
    how: Callable[[Path], None], said: str, form: str, results: Path
) -> None:
    folder = damage(results, how)
    done = typed("report", "--results", results, "-f", form)
    assert done.exit_code == 2
    assert "loec" in done.stdout
    assert folder not in done.stdout
    assert folder in done.stderr
    assert said in done.stderr
    assert done.stderr.endswith("1 record is left out\n")


@pytest.mark.parametrize(("how", "said"), DAMAGES)
def test_two_others_are_compared(how: Callable[[Path], None], said: str, results: Path) -> None:
    folder = damage(results, how)
    done = typed("compare", "ssp", "loec", "--results", results)
    assert done.exit_code == 2
    assert "isic" in done.stdout
    assert folder in done.stderr
    assert said in done.stderr


def test_whole_records_leave_nothing_out(results: Path) -> None:
    done = typed("report", "--results", results)
    assert done.exit_code == 0
    assert "left out" not in done.stderr


def test_where_nothing_can_be_read_each_is_named(results: Path) -> None:
    for path in record_paths(results):
        cut(path)
    done = typed("report", "--results", results)
    assert done.exit_code != 0
    assert done.stderr.count("is not a readable record") == 3


@pytest.mark.parametrize("into", ["runs", "runs/isic-1shot", "runs/isic-1shot/ssp"])
def test_records_that_were_copied_a_level_too_deep_are_named(into: str, results: Path) -> None:
    write_cell(results / "other", "ssp", seed=1)
    (below,) = record_paths(results / "other")
    shutil.copytree(results / "other" / into, results / into / Path(into).name)
    shutil.rmtree(results / "other")
    done = typed("report", "--results", results)
    assert done.exit_code == 2
    assert "loec" in done.stdout
    assert f"{below.parent.name}/run.json lies deeper than records do" in done.stderr
    assert done.stderr.endswith("1 record is left out\n")
