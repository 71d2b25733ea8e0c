"""Downloads that resume, in parallel parts where the server allows, checked before they count.

A file under construction is called `NAME.part`, with a page `NAME.part.json` that says which bytes
are there; it gets its own name only when it is whole and right.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from cdfss_bench import plain_json
from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import UserError
from cdfss_bench.files import explained_os_errors, write_atomically

MIN_PIECE = 8 * 2**20
"""Bytes; smaller files come in one part."""

_CHUNK = 2**18
_SAVE_EVERY = 1.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TRANSIENT = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


class Unreachable(UserError):
    """The server cannot be reached, does not have the file, or breaks off again and again."""


class WrongBytes(UserError):
    """The server sent something else than the file that its publisher meant."""


class _NoRanges(Exception):
    """The server does not keep to the parts that it offered, or has another file by now."""


@dataclass
class Piece:
    """Bytes `start` to `end` (excluded) of a file, of which the first `done` are there."""

    start: int
    end: int
    done: int = 0


@dataclass
class _State:
    """What is known of a file under construction."""

    url: str
    validator: str
    total: int
    pieces: list[Piece]
    lock: threading.Lock = field(default_factory=threading.Lock)
    saved: float = 0.0

    @property
    def received(self) -> int:
        return sum(piece.done for piece in self.pieces)

    def save(self, part: Path) -> None:
        rows = [[piece.start, piece.end, piece.done] for piece in self.pieces]
        page = {"url": self.url, "validator": self.validator, "total": self.total, "pieces": rows}
        write_atomically(_page_of(part), json.dumps(page))
        self.saved = time.monotonic()

    @classmethod
    def load(cls, part: Path, url: str) -> _State | None:
        try:
            page = cast("dict[str, Any]", plain_json.loads(_page_of(part).read_text()))
            pieces = [Piece(*map(int, row)) for row in page["pieces"]]
            state = cls(page["url"], page["validator"], int(page["total"]), pieces)
            whole = part.stat().st_size == state.total
        except (OSError, ValueError, KeyError, TypeError):
            return None  # nothing that could be resumed
        return state if whole and state.url == url and state.validator else None


@dataclass
class Settings:
    """How patient a download is.

    Attributes:
        connections: parts that come at once.
        timeout: seconds of silence after which a connection is dead.
        patience: broken connections in a row, without a byte between them, that end it.
        pause: seconds before the first of those attempts; each further one waits twice as long.
    """

    connections: int = 4
    timeout: float = 30.0
    patience: int = 5
    pause: float = 1.0


def download(
    url: str,
    target: Path,
    *,
    sha256: str = "",
    damage: Callable[[Path], str] | None = None,
    listener: Callable[[int, int], None] | None = None,
    settings: Settings | None = None,
) -> Path:
    """Downloads `url` to `target`; a whole file that is there is kept.

    Args:
        url: with http or https.
        target: gets its name only when everything has come and was checked.
        sha256: of the published file, or its beginning; empty where it is not known.
        damage: looks at the finished file and says what is wrong with it ("" for nothing).
        listener: is told (bytes here, bytes in all; 0 where the server does not say).
        settings: of connections.

    Raises:
        Unreachable: if the server cannot be reached or gives up; what came is kept for resuming
            where the server can resume.
        WrongBytes: if the bytes are not the published ones; they are deleted.
        UserError: if the disk is full or may not be written, or another process is at it.
    """
    if target.is_file() and (not sha256 or file_sha256(target).startswith(sha256)):
        return target
    if not url.startswith(("http://", "https://")):
        raise Unreachable(f"{url} could not be downloaded (only http and https are)")
    with explained_os_errors(target, f"downloading {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            job = _Job(url, target, settings or Settings(), listener)
            job.run()
            _accept(url, job.part, target, sha256, damage)
    return target


@contextmanager
def _alone(target: Path) -> Generator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another process is downloading {target}", mend="wait until it is done"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _accept(
    url: str, part: Path, target: Path, sha256: str, damage: Callable[[Path], str] | None
) -> None:
    found = file_sha256(part) if sha256 else ""
    wrong = ""
    if not found.startswith(sha256):
        wrong = f"its sha256 is {found[:16]}..., not {sha256[:16]}..."
    elif damage is not None:
        wrong = damage(part)
    if wrong:
        _forget(part)
        raise WrongBytes(
            f"what {url} sent is not the published file: {wrong}", mend="try again later"
        )
    part.replace(target)
    _forget(part)


def _page_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _page_of(part).unlink(missing_ok=True)


class _Job:
    """One download from its first request to a whole `.part` file."""

    def __init__(
        self,
        url: str,
        target: Path,
        settings: Settings,
        listener: Callable[[int, int], None] | None,
    ):
        self.url, self.settings, self.listener = url, settings, listener
        self.part = target.with_name(f"{target.name}.part")
        self.stop = threading.Event()

    def run(self) -> None:
        state = _State.load(self.part, self.url)
        try:
            if state is None:
                _forget(self.part)
                self._begin(with_ranges=True)
            else:
                self._fill(state, None)
        except _NoRanges:
            _forget(self.part)
            self._begin(with_ranges=False)

    def _begin(self, *, with_ranges: bool) -> None:
        try:
            response = self._open({"Range": "bytes=0-"} if with_ranges else {})
        except _TRANSIENT as error:
            raise self._unreachable(error) from error
        total = _offered(response, 0)
        if with_ranges and response.status == 206 and total:
            self._refuse_without_space(total)
            state = _State(self.url, _validator(response), total, self._pieces(total))
            with self.part.open("wb") as file:
                file.truncate(total)
            state.save(self.part)
            self._fill(state, response)
        elif response.status == 206:
            response.close()
            raise _NoRanges
        else:
            self._stream(response)

    def _pieces(self, total: int) -> list[Piece]:
        count = max(1, min(self.settings.connections, total // MIN_PIECE))
        cuts = [total * place // count for place in range(count + 1)]
        return [Piece(a, b) for a, b in itertools.pairwise(cuts)]

    def _stream(self, response: http.client.HTTPResponse) -> None:
        """The whole file in one go, from a server that cannot resume."""
        length = int(response.headers.get("Content-Length") or 0)
        self._refuse_without_space(length)
        done = 0
        try:
            with response, self.part.open("wb") as file:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    self._tell(done, length)
        except _TRANSIENT as error:
            _forget(self.part)
            raise self._unreachable(error) from error
        except BaseException:
            _forget(self.part)
            raise
        if length and done != length:
            _forget(self.part)
            raise WrongBytes(
                f"what {self.url} sent is not the published file: "
                f"it broke off after {done:,} of {length:,} bytes",
                mend="try again later",
            )

    def _fill(self, state: _State, first: http.client.HTTPResponse | None) -> None:
        missing = [piece for piece in state.pieces if piece.start + piece.done < piece.end]
        if not missing:
            return
        with ThreadPoolExecutor(len(missing)) as pool:
            futures = [
                pool.submit(self._fetch, state, piece, first if place == 0 else None)
                for place, piece in enumerate(missing)
            ]
            try:
                landed, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self.stop.set()
                state.save(self.part)
        self.stop.clear()
        state.save(self.part)
        errors = [error for f in landed if (error := f.exception()) is not None]
        for error in sorted(errors, key=lambda e: isinstance(e, UserError)):
            raise error

    def _fetch(
        self, state: _State, piece: Piece, response: http.client.HTTPResponse | None
    ) -> None:
        fruitless = 0
        while piece.start + piece.done < piece.end and not self.stop.is_set():
            before = piece.done
            try:
                opened = response or self._open(self._range(state, piece))
                response = None
                with opened:
                    if opened.status != 206:
                        raise _NoRanges
                    if _offered(opened, piece.start + piece.done) != state.total:
                        raise _NoRanges
                    self._receive(opened, state, piece)
                if piece.start + piece.done < piece.end and not self.stop.is_set():
                    raise ConnectionError(
                        f"it broke off after {state.received:,} of {state.total:,} bytes"
                    )
            except _TRANSIENT as error:
                if isinstance(error, urllib.error.HTTPError) and error.code == 416:
                    raise _NoRanges from error
                fruitless = 0 if piece.done > before else fruitless + 1
                if not _may_pass(error) or fruitless > self.settings.patience:
                    raise self._unreachable(error) from error
                self.stop.wait(self.settings.pause * 2 ** max(fruitless - 1, 0))

    def _receive(self, opened: http.client.HTTPResponse, state: _State, piece: Piece) -> None:
        with self.part.open("r+b") as file:
            file.seek(piece.start + piece.done)
            while not self.stop.is_set():
                left = piece.end - piece.start - piece.done
                chunk = opened.read(min(_CHUNK, left)) if left else b""
                if not chunk:
                    return
                with explained_os_errors(self.part, f"downloading {self.part.stem}"):
                    file.write(chunk)
                    file.flush()
                piece.done += len(chunk)
                with state.lock:
                    self._tell(state.received, state.total)
                    if time.monotonic() - state.saved > _SAVE_EVERY:
                        state.save(self.part)

    def _range(self, state: _State, piece: Piece) -> dict[str, str]:
        headers = {"Range": f"bytes={piece.start + piece.done}-{piece.end - 1}"}
        # If-Range: a server whose file has changed sends all of the new one instead of a mixture.
        return {**headers, "If-Range": state.validator} if state.validator else headers

    def _open(self, headers: dict[str, str]) -> http.client.HTTPResponse:
        words = {"User-Agent": "cdfss-bench", "Accept-Encoding": "identity", **headers}
        request = urllib.request.Request(self.url, headers=words)  # noqa: S310
        opened = urllib.request.urlopen(request, timeout=self.settings.timeout)  # noqa: S310
        return cast("http.client.HTTPResponse", opened)

    def _refuse_without_space(self, total: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if total > free:
            raise UserError(
                f"{self.url} has {total / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in "
                f"{self.part.parent}",
                mend="free some space, or name another disk",
            )

    def _tell(self, done: int, total: int) -> None:
        if self.listener is not None:
            self.listener(done, total)

    def _unreachable(self, error: Exception) -> Unreachable:
        kept = self.part.is_file()
        http_says = isinstance(error, urllib.error.HTTPError)
        reason = error if http_says else getattr(error, "reason", error)
        return Unreachable(
            f"{self.url} could not be downloaded ({reason})",
            mend="type the same command again: what came is kept"
            if kept
            else f"download it elsewhere and put it into {self.part.parent}",
        )


def _validator(response: http.client.HTTPResponse) -> str:
    etag = response.headers.get("ETag") or ""
    # A weak tag does not promise the same bytes.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _offered(response: http.client.HTTPResponse, start: int) -> int:
    """The whole file's length if a 206 begins at `start`, else 0."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range") or "")
    return int(match[3]) if match and int(match[1]) == start else 0


def _may_pass(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 425, 429, 500, 502, 503, 504)
    return True
