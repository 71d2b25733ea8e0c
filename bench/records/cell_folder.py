"""The folder of one cell: rows are appended as they come and survive whatever happens."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from filelock import FileLock, Timeout

from cdfss_bench import plain_json
from cdfss_bench.datasets import Episode
from cdfss_bench.errors import RecordError
from cdfss_bench.files import explained_os_errors, write_atomically

from .boundary import Boundary, parse_boundary
from .counts import Counts


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One line of `episodes.jsonl`.

    Attributes:
        index: of the episode in the manifest.
        episode: what was asked.
        counts: integer pixel counts.
        boundary: boundary measures, where they were asked for.
    """

    index: int
    episode: Episode
    counts: Counts
    boundary: Boundary | None = None

    def fit(self, side: int | None = None) -> bool:
        """Whether its numbers can be those of one pair of masks, on a grid of that side."""
        counts_fit = self.counts.fit(None if side is None else side**2)
        return counts_fit and (self.boundary is None or self.boundary.fit(self.counts, side))

    def is_measured(self, tolerance: float | None) -> bool:
        """Whether it holds boundary measures of that tolerance, if one is asked for."""
        return tolerance is None or (
            self.boundary is not None and self.boundary.nsd_tolerance == tolerance
        )

    def to_line(self) -> str:
        """The row as JSON, always spelled the same way."""
        values = {
            "episode": self.index,
            "class": self.episode.class_id,
            "query": self.episode.query,
            "supports": list(self.episode.supports),
            **self.counts._asdict(),
            **(self.boundary._asdict() if self.boundary else {}),
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


class CellFolder:
    """`results/runs/<domain>-<shots>shot/<method>/<cell id>`.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.record = path / "run.json"
        self.rows = path / "episodes.jsonl"
        self.added = path / "episodes.added.jsonl"
        self.timings = path / "timings.jsonl"
        self.manifest = path / "manifest.json"

    @classmethod
    def of(cls, results: Path, *, domain: str, shots: int, label: str, cell: str) -> CellFolder:
        """Where the cell with that id belongs."""
        name = f"{safe_name(domain)}-{shots}shot"
        return cls(results / "runs" / name / safe_name(label) / cell[:16])

    def lock(self, wait: float = 0) -> AbstractContextManager[object]:
        """The right to write here; released by the operating system if the process dies.

        Args:
            wait: seconds.

        Raises:
            RecordError: if another process holds it.
            UserError: if the folder may not be written.
        """
        with explained_os_errors(self.path, "creating the folder of a cell"):
            self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=wait)
        try:
            with explained_os_errors(self.path, "taking the lock of a cell"):
                return lock.acquire()
        except Timeout as error:
            raise RecordError(f"another process is working on {self.path}") from error

    def recover(self, episodes: Sequence[Episode]) -> dict[int, EpisodeRow]:
        """The rows that an earlier run finished, by index.

        What is torn or damaged, does not belong to the manifest, contradicts itself, or is not
        what `timings.jsonl` has the checksum of is left out: its episode is computed again.
        """
        checksums = {index: crc for line in _lines(self.timings) for index, crc in _noted(line)}
        found: dict[int, EpisodeRow] = {}
        for line in _lines(self.rows):
            row = parse_row(line)
            if row is None or not row.fit() or row.index >= len(episodes):
                continue
            asked, said = episodes[row.index], row.episode
            fits = (asked.query, asked.supports, asked.class_id) == (
                said.query, said.supports, said.class_id
            )  # fmt: skip
            if fits and checksums.get(row.index) in (None, checksum(line)):
                found[row.index] = replace(row, episode=asked)
        return found

    def keep_added(self, rows: Sequence[EpisodeRow]) -> None:
        """Keeps rows of a finished cell with their boundary measures until all of them are here."""
        with Appender(self.added) as file:
            file.append([row.to_line() for row in rows])

    def with_added(self, rows: Mapping[int, EpisodeRow]) -> dict[int, EpisodeRow]:
        """The rows of a finished cell with the boundary measures that `keep_added` kept of them."""
        found = dict(rows)
        for row in filter(None, map(parse_row, _lines(self.added))):
            old = rows.get(row.index)
            if row.fit() and old is not None and row == replace(old, boundary=row.boundary):
                found[row.index] = row
        return found

    def replace_rows(self, rows: Sequence[EpisodeRow]) -> str:
        """Replaces the rows of a finished cell, and their checksums; the sha256 of the file."""
        sums = [checksum(row.to_line()) for row in rows]
        noted = {"episodes": [row.index for row in rows], "crc32": sums}
        with Appender(self.timings) as file:
            file.append([json.dumps(noted)])
        sha256 = self.write_rows(rows)
        self.added.unlink(missing_ok=True)
        return sha256

    def rows_sha256(self) -> str:
        """sha256 of `episodes.jsonl`; empty where there is none."""
        return hashlib.sha256(self.rows.read_bytes()).hexdigest() if self.rows.is_file() else ""

    def write_rows(self, rows: Sequence[EpisodeRow]) -> str:
        """Replaces `episodes.jsonl` by `rows` in manifest order; the sha256 of the file."""
        text = "".join(row.to_line() + "\n" for row in sorted(rows, key=lambda row: row.index))
        write_atomically(self.rows, text)
        return hashlib.sha256(text.encode()).hexdigest()


class Appender:
    """Appends lines to a file, flushed one batch at a time.

    A torn last line of a killed process is closed first, so that it cannot swallow a new one.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Appender:
        """Opens the file."""
        with explained_os_errors(self.path, "opening it"):
            torn = _ends_torn(self.path)
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        if torn:
            self.append([""])
        return self

    def __exit__(self, *_exception: object) -> None:
        """Closes the file."""
        if self._file is not None:
            with explained_os_errors(self.path, "closing it"):
                self._file.close()

    def append(self, lines: Sequence[str]) -> None:
        """Adds lines and hands them to the operating system.

        Raises:
            UserError: if the disk is full.
        """
        assert self._file is not None
        with explained_os_errors(self.path, "adding finished episodes"):
            self._file.write("".join(line + "\n" for line in lines))
            self._file.flush()


def checksum(line: str) -> int:
    """CRC-32 of a row as it is written, without the end of its line."""
    return zlib.crc32(line.encode())


def _noted(line: str) -> list[tuple[int, int]]:
    """The episodes of a batch with the checksums of their rows; none if the line is damaged."""
    try:
        values = plain_json.loads(line)
        pairs = zip(values["episodes"], values["crc32"], strict=True)
        return [(int(index), int(crc)) for index, crc in pairs]
    except (ValueError, KeyError, TypeError):
        return []


def parse_row(line: str) -> EpisodeRow | None:
    """The row that a line holds, or None if it is torn or damaged."""
    try:
        loaded: object = plain_json.loads(line)
    except ValueError:
        return None
    if not isinstance(loaded, dict):
        return None
    values = cast("Mapping[str, Any]", loaded)
    try:
        counts = Counts(*(values[name] for name in Counts._fields))
        supports: object = values["supports"]
        index, class_id, query = values["episode"], values["class"], values["query"]
        boundary = parse_boundary(values)
    except (KeyError, ValueError):
        return None
    numbers = (*counts, index, class_id)
    # A bool is an int to Python; in a count it is damage.
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    names = cast("list[object]", supports) if isinstance(supports, list) else [None]
    if not all(isinstance(name, str) for name in (query, *names)):
        return None
    return EpisodeRow(index, Episode(query, tuple(map(str, names)), class_id), counts, boundary)


def _ends_torn(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    # A bit flip may break the encoding of one line; the others stay readable.
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def safe_name(name: str) -> str:
    """`name` without what file systems or shells dislike; two names may become one."""
    return re.sub(r"[^A-Za-z0-9.,=+@_-]", "_", name)
