"""Doing the units of a preparation: in parallel, each whole or not at all, the rest resumed.

A journal beside the data (`.prepared.jsonl`) holds a line per finished unit: what it was made
from, what it made, what was odd. The same command again does only the units whose line is missing,
or whose inputs or outputs are no longer what the line says.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from cdfss_bench import plain_json
from cdfss_bench.canonical import canonical_json
from cdfss_bench.errors import DataError, UserError
from cdfss_bench.files import explained_os_errors
from cdfss_bench.words import readable_size

from .plan import Made, Plan, Same, Summary, Unit
from .sources import JOURNAL, Entry, free_bytes

_MAKING = ".making"


Line = dict[str, Any]


def carry_out(
    plan: Plan,
    root: Path,
    domain: str,
    *,
    workers: int = 0,
    link: bool = False,
    listener: Callable[[int, int], None] | None = None,
) -> Summary:
    """Does what of a plan is not done yet.

    Args:
        plan: made by a recipe.
        root: the data root; created where it is missing.
        domain: for the summary.
        workers: threads; 0 takes one per processor.
        link: unpacked inputs on the same disk become hard links instead of copies.
        listener: is told (done, total) after each unit.

    Raises:
        UserError: if the folder holds something else, the disk is full or may not be written.
    """
    folder = root / plan.folder
    done = _journal_of(folder, plan)
    waiting = [unit for unit in plan.units if not _is_done(unit, done.get(unit.name), root)]
    if waiting and not link:
        whole = plan.output_bytes
        if whole is None:
            whole = sum(entry.size for unit in plan.units for entry in unit.inputs)
        _refuse_without_space(root, int(whole * len(waiting) / len(plan.units)))
    kept = len(plan.units) - len(waiting)
    failed: dict[str, str] = {}
    if waiting:
        with _workshop(folder, plan, fresh=not done) as (making, journal):
            writer = _Writer(root, making, journal, link=link)

            def work(unit: Unit) -> Line | str:
                try:
                    return writer.write(unit, unit.make(), done.get(unit.name))
                except DataError as error:
                    return error.problem

            finished = kept
            for unit, outcome in _in_parallel(waiting, work, workers or os.cpu_count() or 1):
                finished += 1
                if isinstance(outcome, str):
                    failed[unit.name] = outcome
                    done.pop(unit.name, None)
                else:
                    done[unit.name] = outcome
                if listener is not None:
                    listener(finished, len(plan.units))
    return _summary(plan, folder, domain, done, failed, kept)


def _summary(
    plan: Plan,
    folder: Path,
    domain: str,
    done: Mapping[str, Line],
    failed: Mapping[str, str],
    kept: int,
) -> Summary:
    names = {unit.name for unit in plan.units}
    others = [name for name in done if name not in names]
    summary = Summary(domain, folder, kept=kept)
    summary.made = len(plan.units) - kept - len(failed)
    summary.odd = list(plan.remarks)
    summary.problems = [*plan.problems, *(failed[name] for name in sorted(failed))]
    if others:
        summary.odd.append(
            f"{len(others)} further units stem from an earlier download and are kept "
            f"({', '.join(sorted(others)[:3])}{', ...' if len(others) > 3 else ''})"
        )
    looks: dict[str, list[str]] = {}
    for name in sorted(done):
        line = done[name]
        summary.files += len(line["files"])
        summary.counts.update(line["counts"])
        summary.odd += line["odd"]
        for picture, sha256 in line["looks"].items():
            looks.setdefault(sha256, []).append(picture)
    for pictures in looks.values():
        if len(pictures) > 1:
            summary.odd.append(f"the same picture under {len(pictures)} names: {_few(pictures)}")
    return summary


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _journal_of(folder: Path, plan: Plan) -> dict[str, Line]:
    path = folder / JOURNAL
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        strangers = [] if lines or not folder.is_dir() else _strangers(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    if not lines:
        if strangers:
            raise UserError(
                f"{folder} already holds {strangers[0]}, which data prepare did not make",
                hint="move it away, or prepare under another --data-root",
            )
        return {}
    head = _parsed(lines[0])
    if head.get("recipe") != json.loads(canonical_json(plan.recipe)):
        raise UserError(
            f"{folder} was prepared differently ({_differences(head.get('recipe'), plan.recipe)})",
            hint="move it away, or prepare under another --data-root",
        )
    found = [_parsed(line) for line in lines[1:]]
    return {line["unit"]: line for line in found if "unit" in line}


def _strangers(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir() if child.name != _MAKING)


def _parsed(line: str) -> Line:
    try:
        value: object = plain_json.loads(line)
    except ValueError:
        return {}  # the line in flight when the process was killed
    return cast("Line", value) if isinstance(value, dict) else {}


def _differences(old: object, new: Mapping[str, Any]) -> str:
    if not isinstance(old, dict):
        return "its journal is damaged"
    before = cast("dict[str, Any]", old)
    keys = [key for key in {**before, **new} if before.get(key) != new.get(key)]
    return ", ".join(f"{key}: {before.get(key)} there, {new.get(key)} now" for key in sorted(keys))


def _is_done(unit: Unit, line: Line | None, root: Path) -> bool:
    if line is None or line["inputs"] != _identity(unit.inputs):
        return False
    try:
        return all(
            (root / path).stat().st_size == size
            for path, size in cast("dict[str, int]", line["files"]).items()
        )
    except OSError:
        return False


def _identity(inputs: Iterable[Entry]) -> dict[str, list[Any]]:
    return {entry.path: [entry.size, entry.stamp] for entry in inputs}


def _refuse_without_space(root: Path, needed: int) -> None:
    free = free_bytes(root.absolute())
    if needed > free:
        there = readable_size(free)
        raise UserError(
            f"about {readable_size(needed)} are needed under {root}, {there} are free",
            hint="free some space, or name another disk with --data-root",
        )


@contextmanager
def _workshop(folder: Path, plan: Plan, *, fresh: bool) -> Generator[tuple[Path, IO[str]]]:
    making = folder / _MAKING
    with explained_os_errors(folder, "preparing the data set"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        try:
            path = folder / JOURNAL
            torn = path.is_file() and not path.read_bytes().endswith(b"\n")
            with path.open("a", encoding="utf-8") as journal:
                if fresh and path.stat().st_size == 0:
                    journal.write(canonical_json({"recipe": plan.recipe}) + "\n")
                elif torn:
                    journal.write("\n")
                journal.flush()
                yield making, journal
        finally:
            shutil.rmtree(making, ignore_errors=True)


class _Writer:
    """Puts outputs in place and then says so in the journal."""

    def __init__(self, root: Path, making: Path, journal: IO[str], *, link: bool):
        self._root, self._making, self._journal, self._link = root, making, journal, link
        self._lock = threading.Lock()

    def write(self, unit: Unit, made: Made, before: Line | None) -> Line:
        sizes: dict[str, int] = {}
        for path, content in made.files.items():
            target = self._root / path
            with explained_os_errors(target, "preparing the data set"):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._place(target, content)
                sizes[path] = target.stat().st_size
        for path in set(before["files"] if before else ()) - set(sizes):
            (self._root / path).unlink(missing_ok=True)
        line: Line = {
            "unit": unit.name,
            "inputs": _identity(unit.inputs),
            "files": sizes,
            "counts": dict(made.counts),
            "odd": made.odd,
            "looks": made.looks,
        }
        with self._lock, explained_os_errors(self._making.parent, "keeping the journal"):
            self._journal.write(canonical_json(line) + "\n")
            self._journal.flush()
        return line

    def _place(self, target: Path, content: bytes | Entry | Same) -> None:
        draft = self._making / f"{threading.get_ident()}"
        draft.unlink(missing_ok=True)
        original: Path | None = None
        if isinstance(content, Same):
            original = self._root / content.path
        elif isinstance(content, Entry) and self._link:
            original = content.local
        if original is not None:
            # Not every file system has hard links, and none has them across disks.
            with suppress(OSError):
                draft.hardlink_to(original)
        if not draft.exists():
            data = original.read_bytes() if isinstance(content, Same) and original else content
            draft.write_bytes(data.read() if isinstance(data, Entry) else cast("bytes", data))
        if draft.exists() and target.exists() and draft.samefile(target):
            draft.unlink()  # rename does nothing between two names of one file
            return
        draft.replace(target)


def _in_parallel(
    units: Sequence[Unit], work: Callable[[Unit], Line | str], workers: int
) -> Generator[tuple[Unit, Line | str]]:
    """Outcomes as they come; only a few units are in flight, so that memory stays bounded."""
    waiting = iter(units)
    flying: dict[Future[Line | str], Unit] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(flying) < 2 * workers and (unit := next(waiting, None)) is not None:
                    flying[pool.submit(work, unit)] = unit
                if not flying:
                    return
                landed, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in landed:
                    yield flying.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
