"""What is kept between calls changes no output and hides no edit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench.bench.comparison import verify
from cdfss_bench.bench.records import kept, results
from cdfss_bench.bench.records.cell_folder import CellFolder
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import read_record, record_paths

from ...support.records import DOMAINS, write_cell
from ...support.shown import typed

SAMPLES = Path(__file__).parents[3] / "results" / "sample"


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Two methods and a control on all domains, so that means and all tests are there."""
    folder = tmp_path / "results"
    for domain in DOMAINS:
        for seed in (0, 1):
            write_cell(folder, "ssp", domain, seed=seed)
            write_cell(folder, "ssp@shuffled-support", domain, seed=seed, skill=0.3)
            write_cell(folder, "loec", domain, seed=seed, skill=0.51)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where this test's values are kept."""
    return tmp_path / "cache" / "kept"


def refuse(*_arguments: object, **_options: object) -> None:
    raise AssertionError("it was computed again")


def test_a_second_report_is_the_same_and_parses_no_row(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = typed("report", "--results", found)
    assert first.exit_code == 0, first.output
    monkeypatch.setattr(results, "parse_rows", refuse)
    monkeypatch.setattr(results, "read_record", refuse)
    assert typed("report", "--results", found).output == first.output


@pytest.mark.parametrize("form", ["csv", "json", "html"])
def test_other_formats_are_the_same(form: str, found: Path) -> None:
    first = typed("report", "--results", found, "-f", form)
    assert first.exit_code == 0, first.output
    assert typed("report", "--results", found, "-f", form).output == first.output


def test_dice_is_not_taken_for_miou(found: Path, cache: Path) -> None:
    typed("report", "--results", found)
    beside = typed("report", "--results", found, "--metric", "dice").output
    for path in cache.iterdir():
        path.unlink()
    assert typed("report", "--results", found, "--metric", "dice").output == beside


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def change_a_number(path: Path) -> None:
    raw = path.read_bytes()
    at = next(i for i in range(len(raw) - 3, 0, -1) if raw[i : i + 1].isdigit())
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])


def no_values(path: Path) -> None:
    path.write_text("no checksum")


@pytest.mark.parametrize("damage", [remove, cut, change_a_number, no_values])
def test_a_damaged_file_is_made_anew(
    damage: Callable[[Path], None], found: Path, cache: Path
) -> None:
    first = typed("report", "--results", found).output
    made = {path: path.read_bytes() for path in cache.iterdir()}
    assert made
    for path in made:
        damage(path)
    assert typed("report", "--results", found).output == first
    assert {path: path.read_bytes() for path in cache.iterdir()} == made


def test_other_code_computes_again(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = typed("report", "--results", found).output
    parsed: list[str] = []
    real = results.parse_rows
    monkeypatch.setattr(results, "parse_rows", lambda text: parsed.append(text) or real(text))
    monkeypatch.setattr(kept, "_code", lambda: "another")
    assert typed("report", "--results", found).output == first
    assert parsed


def test_nothing_can_be_kept(found: Path, cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    first, second = (typed("report", "--results", found) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert first.output == second.output
    assert typed("verify", *(p.parent for p in record_paths(SAMPLES))).exit_code == 0


def edited(path: Path) -> None:
    """Another digit in the same place, with the size and times of before."""
    before, text = path.stat(), path.read_text(encoding="utf-8")
    old = '"inter":' if path.name == "episodes.jsonl" else '"miou": '
    at = text.index(old) + len(old)
    path.write_text(text[:at] + ("2" if text[at] == "1" else "1") + text[at + 1 :])

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("name", ["record", "rows"])
def test_an_edit_of_what_is_known_is_told(name: str, found: Path) -> None:
    whole = typed("report", "--results", found).output
    path = getattr(CellFolder(record_paths(found)[0].parent), name)
    raw = path.read_bytes()
    edited(path)
    told = typed("report", "--results", found)
    assert told.exit_code == 2
    assert "was changed after it was written" in told.output
    path.write_bytes(raw)
    assert typed("report", "--results", found).output == whole


def test_a_kept_seal_gives_the_same_record(tmp_path: Path) -> None:
    first, second = (run_results(SAMPLES) for _ in range(2))
    assert list((tmp_path / "cache" / "kept").glob("seals-*"))
    whole = [read_record(path).model_dump() for path in record_paths(SAMPLES)]
    assert [one.record.model_dump() for one in first] == whole
    assert [one.record.model_dump() for one in second] == whole


def test_what_agreed_is_not_verified_again_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    folder = tmp_path / "results"
    shutil.copytree(SAMPLES, folder)
    first = typed("verify", "--results", folder)
    assert first.exit_code == 0, first.output
    real = verify.verify
    monkeypatch.setattr(verify, "verify", refuse)
    assert typed("verify", "--results", folder).output == first.output
    assert isinstance(typed("verify", "--results", folder, "--full").exception, AssertionError)
    monkeypatch.setattr(verify, "verify", real)
    for name in ("record", "rows", "manifest"):
        path: Path = getattr(CellFolder(record_paths(folder)[0].parent), name)
        raw = path.read_bytes()
        path.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
        for _ in range(2):  # what is wrong is not kept
            assert typed("verify", "--results", folder).exit_code != 0, name
        path.write_bytes(raw)
    assert typed("verify", "--results", folder).output == first.output
