"""What is kept between calls changes no output and hides no edit."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench.bench.comparison import ranking, verify
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records import kept, results
from cdfss_bench.bench.records.cell_folder import CellFolder
from cdfss_bench.bench.records.results import note_seals, run_results
from cdfss_bench.bench.records.schema import read_record, record_paths
from cdfss_bench.bench.reporting import forms
from cdfss_bench.errors import RecordError

from ...support.records import DOMAINS, write_cell
from ...support.shown import board_of, typed

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


def reseal(path: Path, change: Callable[[CellFolder], None]) -> None:
    """Changes a finished cell as one who seals the record again."""
    record, folder = read_record(path), CellFolder(path.parent)
    change(folder)
    record.episodes.rows_sha256 = folder.rows_sha256()
    record.save(path)


def lose_a_row(folder: CellFolder) -> None:
    lines = folder.rows.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.rows.write_text("".join(lines[:-1]), encoding="utf-8", newline="\n")


def test_a_missing_row_is_told_where_no_number_needs_the_rows(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_exists", bool)  # as of many records: no row is parsed for them
    monkeypatch.setattr(ranking, "RESAMPLES", 1)
    reseal(record_paths(found)[0], lose_a_row)
    told = typed("report", "--results", found)
    assert told.exit_code == 2
    assert "does not hold the" in told.output


def test_what_a_run_saved_is_known_to_fit_its_seal(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = record_paths(found)
    whole = [read_record(path) for path in paths]
    note_seals(found, whole)
    monkeypatch.setattr(results, "_is_sealed", refuse)
    assert [one.record for one in run_results(found)] == whole


def test_a_record_that_was_edited_since_is_not_noted(found: Path) -> None:
    path = record_paths(found)[0]
    record = read_record(path)
    edited(path)
    note_seals(found, [record])
    told = typed("report", "--results", found)
    assert told.exit_code == 2
    assert "its seal does not fit" in told.output


def twice(text: str) -> str:
    return text.replace('"status"', '"status": "failed",\n "status"', 1)


def not_finite(text: str) -> str:
    return text.replace('"environment": {', '"environment": {"x": NaN,', 1)


def without_seal_but_edited(text: str) -> str:
    return text.replace('"seal"', '"sale"', 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (twice, "the key 'status' is there twice"),
        (not_finite, "it holds NaN"),
        (without_seal_but_edited, "extra inputs are not permitted"),
        (lambda text: text[:-20], "not a readable record"),
        (lambda _: "[1]", "the whole file"),
        (lambda _: '{"seal": 1}', "field required"),
    ],
)
def test_a_damaged_record_is_told_as_when_it_is_read_alone(
    change: Callable[[str], str], told: str, found: Path
) -> None:
    path = record_paths(found)[0]
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RecordError, match=re.escape(told)) as alone:
        read_record(path)
    for _ in range(2):
        with pytest.raises(RecordError) as among:
            run_results(found)
        assert str(among.value) == str(alone.value)


def test_another_layout_of_the_same_values_fits_the_seal(found: Path) -> None:
    path = record_paths(found)[0]
    whole = read_record(path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert run_results(found)[0].record == whole


@pytest.fixture
def stated(found: Path) -> Path:
    """The same records with intervals, as a run writes them."""
    for path in record_paths(found):
        record = read_record(path)
        assert record.metrics is not None
        record.metrics.miou_interval = (12.5, 87.5)
        record.save(path)
    return found


@pytest.mark.parametrize("width", [30, 60, 80, 100, 110, 120, 130, 140, 160, 200])
def test_the_table_is_the_same_whether_or_not_its_intervals_are_computed_first(
    width: int, stated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = typed("report", "--results", stated).output
    monkeypatch.setattr(forms, "has_room", lambda *_: True)
    assert typed("report", "--results", stated).output == shown


def test_intervals_that_a_screen_has_no_room_for_are_not_computed(
    stated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "resampled", refuse)
    shown = typed("report", "--results", stated)
    assert shown.exit_code == 0
    assert "intervals" in shown.output
    assert isinstance(typed("report", "--results", stated, "--wide").exception, AssertionError)


def test_an_interval_that_a_record_does_not_state_is_computed(
    stated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record_paths(stated)[0]
    record = read_record(path)
    assert record.metrics is not None
    record.metrics.miou_interval = None
    record.save(path)
    monkeypatch.setattr(ranking, "resampled", refuse)
    assert isinstance(typed("report", "--results", stated).exception, AssertionError)


@pytest.mark.parametrize(("resamples", "is_tested"), [(39, True), (38, False), (199, True)])
def test_rows_are_tested_where_so_many_can_differ(
    resamples: int, *, is_tested: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method, skill in {"ssp": 0.9, "loec": 0.2, "loec[beta=0.5]": 0.1}.items():
        write_cell(tmp_path, method, "isic", skill=skill)
    answers = run_results(tmp_path)
    monkeypatch.setattr(ranking, "RESAMPLES", resamples)
    tested: list[object] = []
    real = ranking._tested  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(ranking, "_tested", lambda *rows: tested.append(rows) or real(*rows))
    worse = [one.worse for one in standings(board_of(answers), answers).values()]
    assert bool(tested) is is_tested
    assert any(worse) is is_tested


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
