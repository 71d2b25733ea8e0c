"""Full, read-only, shared and forgetful disks: one sentence, and no finished episode is lost."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.records import cell_folder as folders
from cdfss_bench.errors import UserError

from ..bench.conftest import run_mini as run_mini
from . import works
from .children import finish, read_only, start
from .conftest import Under, rows_of

Run = Callable[..., list[Outcome]]
ASKED = {"methods": ["prototype", "centre-ellipse"], "domains": ["mini-lesion"], "episodes": 8}


def said(run_mini: Run, results: Path) -> str:
    """What a run says of its trouble."""
    try:
        return " ".join(outcome.detail for outcome in run_mini(results=results, **ASKED))
    except UserError as error:
        return f"{error.problem} {error.hint}"


def assert_verified(results: Path) -> None:
    for path in results.glob("runs/*/*/*"):
        assert verify(path).problems == ()


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[int]]:
    """Makes every write to a results folder from the n-th on fail; counts them."""
    done = [0]
    append, replace = folders.Appender.append, Path.replace

    def arm(first: int, number: int) -> list[int]:
        done[0] = 0

        def refuse() -> None:
            done[0] += 1
            if done[0] >= first:
                raise OSError(number, os.strerror(number))

        class Full:
            """A file on a full disk: part of what is written may arrive."""

            def __init__(self, file: Any):
                self.file = file

            def write(self, text: str) -> int:
                try:
                    refuse()
                except OSError:
                    self.file.write(text[: len(text) // 2])
                    self.file.flush()
                    raise
                return self.file.write(text)

            def flush(self) -> None:
                self.file.flush()

            def close(self) -> None:
                self.file.close()

        def appended(self: Any, lines: Any) -> None:
            if not isinstance(self._file, Full):
                self._file = Full(self._file)
            append(self, lines)

        def replaced(self: Path, target: Any) -> Path:
            if "runs" in Path(target).parts:
                refuse()
            return replace(self, target)

        monkeypatch.setattr(folders.Appender, "append", appended)
        monkeypatch.setattr(Path, "replace", replaced)
        return done

    return arm


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "no space left"), (errno.EROFS, "may not be")],
)
def test_a_disk_that_fills_at_any_write(
    number: int,
    sentence: str,
    operations: Callable[[int, int], list[int]],
    run_mini: Run,
    tmp_path: Path,
) -> None:
    expected, results = tmp_path / "calm", tmp_path / "results"
    counted = operations(10**9, number)
    run_mini(results=expected, **ASKED)
    total, rng = counted[0], Random(number)
    assert total > 20
    known: set[str] = set()
    met = 0
    for first in sorted(rng.randint(1, total) for _ in range(6)):
        done = operations(first, number)
        told = said(run_mini, results)
        if done[0] >= first:
            met += 1
            assert sentence in told
        now = {
            line for text in rows_of(results).values() for line in text.decode().split("\n")[:-1]
        }
        assert known <= now
        known = now
    assert met >= 2
    operations(10**9, number)
    run_mini(results=results, **ASKED)
    assert rows_of(results) == rows_of(expected)


def test_a_device_that_is_full_in_earnest(run_mini: Run, tmp_path: Path) -> None:
    (outcome,) = run_mini(methods=["prototype"], domains=["mini-lesion"], episodes=3)
    assert outcome.record is not None
    (path,) = tmp_path.glob("results/runs/*/*/*")
    (path / "episodes.jsonl").write_text("")
    (path / "timings.jsonl").unlink()
    (path / "timings.jsonl").symlink_to("/dev/full")
    (outcome,) = run_mini(methods=["prototype"], domains=["mini-lesion"], episodes=3)
    assert outcome.how == "refused"
    assert "no space left on the disk" in outcome.detail
    assert len((path / "episodes.jsonl").read_text().splitlines()) >= 1
    (path / "timings.jsonl").unlink()
    (outcome,) = run_mini(methods=["prototype"], domains=["mini-lesion"], episodes=3)
    assert outcome.how == "resumed"
    assert verify(path).problems == ()


def test_results_that_may_not_be_written(
    under: Under, selected: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    expected, said = rows_of(undisturbed), tmp_path / "outcomes.json"
    more = {**selected, "shots": [1, 2]}
    conditions = under(unprivileged=True)
    with read_only(undisturbed):
        child = start(works.evaluate, undisturbed, more, said, under=conditions)
        assert finish(child, conditions) == 0
        assert rows_of(undisturbed) == expected
    ((how, problem),) = [found for found in json.loads(said.read_text()) if found[0] == "stopped"]
    assert "may not be written" in problem, (how, problem)


def test_a_complete_run_is_told_from_a_read_only_folder(
    under: Under, selected: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    said, conditions = tmp_path / "outcomes.json", under(unprivileged=True)
    with read_only(undisturbed):
        child = start(works.evaluate, undisturbed, selected, said, under=conditions)
        assert finish(child, conditions) == 0
    assert [how for how, _ in json.loads(said.read_text())] == ["known", "known"]


@pytest.mark.parametrize("processes", [2, pytest.param(5, marks=pytest.mark.long)])
def test_processes_that_share_a_results_folder(
    processes: int, under: Under, selected: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    results, conditions = tmp_path / "shared", under()
    said = [tmp_path / f"outcomes-{number}.json" for number in range(processes)]
    children = [start(works.evaluate, results, selected, path, under=conditions) for path in said]
    assert [finish(child, conditions) for child in children] == [0] * processes
    told = [found for path in said for found in json.loads(path.read_text())]
    assert {how for how, _ in told} <= {"computed", "known", "busy"}
    assert sum(how == "computed" for how, _ in told) == 2
    assert all("another process" in detail for how, detail in told if how == "busy")
    assert rows_of(results) == rows_of(undisturbed)
    assert_verified(results)


def test_a_rename_whose_answer_is_lost(
    run_mini: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS: the server renamed, its answer was lost, the client asks again and finds no file."""
    expected, results = tmp_path / "calm", tmp_path / "results"
    run_mini(results=expected, **ASKED)
    replace, renames = Path.replace, [0]

    def unsure(self: Path, target: Any) -> Path:
        renames[0] += 1
        done = replace(self, target)
        if renames[0] % 3 == 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return done

    monkeypatch.setattr(Path, "replace", unsure)
    for _ in range(3):
        try:
            outcomes = run_mini(results=results, **ASKED)
        except OSError:
            continue
        assert {outcome.how for outcome in outcomes} <= {"computed", "resumed", "known", "failed"}
    monkeypatch.setattr(Path, "replace", replace)
    # What such a server leaves behind is nobody's record.
    for path in results.glob("runs/*/*/*"):
        (path / ".nfs0000001").write_text("{")
    run_mini(results=results, **ASKED)
    assert rows_of(results) == rows_of(expected)
    assert_verified(results)


def test_clocks_that_jump(run_mini: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, results = tmp_path / "calm", tmp_path / "results"
    run_mini(results=expected, **ASKED)
    years = iter([2038, 1971, 2100, 1999] * 20)
    for module in ("planning.cell", "evaluation.runner"):
        monkeypatch.setattr(
            f"cdfss_bench.bench.{module}.now", lambda: f"{next(years)}-01-01T00:00:00+00:00"
        )
    run_mini(results=results, **{**ASKED, "methods": ["prototype"]})
    for path in [p for place in (results, tmp_path / "cache") for p in place.rglob("*")]:
        then = 365.25 * 86400 * (next(years) - 1970)
        os.utime(path, (then, then))
    outcomes = run_mini(results=results, **ASKED)
    assert [outcome.how for outcome in outcomes] == ["known", "computed"]
    assert rows_of(results) == rows_of(expected)
    assert_verified(results)
