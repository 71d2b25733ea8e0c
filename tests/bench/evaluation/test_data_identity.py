"""A record belongs to the pixels that it was computed on, and hashing them is shown."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.cli import progress as cli_progress
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.planned_cells import Planned, plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.datasets.core import content_index as contents
from cdfss_bench.progress import show_progress_with

from ...support import trees


def planned(root: Path, domain: str = "folder") -> list[Planned]:
    values = {
        "methods": ["centre-ellipse"], "domains": [domain], "data_root": root, "episodes": 4,
    }  # fmt: skip
    return list(plan(Selection.model_validate(values)))


def run(root: Path, results: Path) -> Outcome:
    (outcome,) = Runner(results, with_cost=False).run(planned(root))
    return outcome


def other_masks(root: Path) -> None:
    """Masks of the same names and sizes, with the first and last rows exchanged."""
    for path in root.glob("masks/*/*.png"):
        times, size = path.stat(), path.stat().st_size
        number = int(path.stem[:3])
        trees.save(path, trees.blob(number)[::-1, ::-1])
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(bytes(max(0, size - file.tell())))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_replaced_masks_are_another_question(tmp_path: Path) -> None:
    root = tmp_path / "data"
    trees.write_folder(root)
    first = run(root, tmp_path / "results")
    other_masks(root)
    second = run(root, tmp_path / "results")
    fresh = run(root, tmp_path / "fresh")
    assert [first.how, second.how] == ["computed", "computed"]
    assert first.record is not None
    assert second.record is not None
    assert fresh.record is not None
    assert second.record.domain.fingerprint != first.record.domain.fingerprint
    assert second.record.episodes.sha256 != first.record.episodes.sha256
    assert second.record.metrics == fresh.record.metrics != first.record.metrics


def test_a_copied_tree_is_the_same_question(tmp_path: Path) -> None:
    trees.write_folder(tmp_path / "a")
    run(tmp_path / "a", tmp_path / "results")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert run(tmp_path / "b", tmp_path / "results").how == "known"


def test_data_that_change_during_a_run_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    trees.write_folder(root)
    cells = planned(root)
    other_masks(root)
    (outcome,) = Runner(tmp_path / "results", with_cost=False).run(cells)
    assert outcome.how == "refused"
    assert outcome.detail.startswith(str(root / "masks"))
    assert outcome.detail.endswith("changed while it was in use")


# -- progress ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_display() -> Iterator[None]:
    yield
    show_progress_with(None)


@pytest.mark.parametrize(
    "words",
    [
        ["data", "check", "folder"],
        ["run", "-m", "all-foreground", "-d", "folder", "--dry-run"],
    ],
)
def test_a_command_says_that_it_hashes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_progress, "_PATIENCE", -1.0)
    trees.write_folder(tmp_path / "data")
    done = CliRunner().invoke(app, [*words, "--data-root", str(tmp_path / "data")])
    assert done.exit_code == 0, done.stderr
    assert "hashing the files of folder: 1 of 24\n" in done.stderr


def test_short_work_is_not_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with cli_progress.patient_progress("hashing") as tell:
        tell(1, 2)
        tell(2, 2)
    assert capsys.readouterr().err == ""


def test_long_work_is_announced_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: now)
    with cli_progress.patient_progress("hashing") as tell:
        for now in (0.5, 1.5, 2.0, 3.0, 12.0, 13.0):
            tell(int(now * 100), 20_000)
    assert capsys.readouterr().err == "hashing: 150 of 20,000\nhashing: 1,200 of 20,000\n"


# -- hashing again -------------------------------------------------------------------------------


def test_a_full_check_hashes_everything_and_a_plain_one_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write_folder(tmp_path / "data")
    monkeypatch.setattr(contents, "_RACY", -1)
    hashed: list[Path] = []
    really = contents.file_sha256

    def counted(path: Path) -> str:
        hashed.append(path)
        return really(path)

    monkeypatch.setattr(contents, "file_sha256", counted)
    prints: list[str] = []
    for flags, expected in (([], 24), ([], 0), (["--full"], 24), ([], 0)):
        hashed.clear()
        words = ["data", "check", "folder", "--data-root", str(tmp_path / "data"), *flags]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.stderr
        assert len(hashed) == expected
        (line,) = [line for line in done.stdout.splitlines() if "fingerprint" in line]
        prints.append(line)
    assert len(set(prints)) == 1
