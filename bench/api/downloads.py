"""Downloads that resume, and that are checked before they count.

A file under construction is called `NAME.part`, with a page `NAME.part.json` that says of what it
is the beginning; it gets its own name only when it is whole and right.
"""

import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from cdfss_bench import plain_json
from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import UserError
from cdfss_bench.files import explained_os_errors, write_atomically
from cdfss_bench.words import readable_size

_CHUNK = 2**18
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class Unreachable(UserError):
    """The server cannot be reached, does not have the file, or breaks off again and again."""


class WrongBytes(UserError):
    """The server sent something else than the file that its publisher meant."""


class _BrokenOff(Exception):
    """A connection that could not be opened, or ended before its time."""

    def __init__(self, reason: object, status: int = 0):
        super().__init__(str(reason))
        self.status = status


@dataclass(frozen=True)
class Settings:
    """How patient a download is.

    Attributes:
        timeout: seconds of silence after which a connection is dead.
        patience: broken connections in a row, without a byte between them, that end it.
        pause: seconds before the first of those attempts; each further one waits twice as long.
    """

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
            transfer = _Transfer(url, target, settings or Settings(), listener)
            transfer.run()
            wrong = _difference(transfer.part, sha256, damage)
            if not wrong:
                transfer.part.replace(target)
            transfer.forget()
    if wrong:
        raise WrongBytes(
            f"what {url} sent is not the published file: {wrong}", hint="try again later"
        )
    return target


@contextmanager
def _alone(target: Path) -> Generator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another process is downloading {target}", hint="wait until it is done"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _difference(part: Path, sha256: str, damage: Callable[[Path], str] | None) -> str:
    found = file_sha256(part) if sha256 else ""
    if not found.startswith(sha256):
        return f"its sha256 is {found[:16]}..., not {sha256[:16]}..."
    return damage(part) if damage is not None else ""


@dataclass
class _Transfer:
    """One download from its first request to a whole `.part` file.

    `done` bytes of `total` (0 as long as it is not known) are there. `validator` is the server's
    name of the version of the file. `ranges` is False once the server turned out not to resume.
    """

    url: str
    target: Path
    settings: Settings
    listener: Callable[[int, int], None] | None
    done: int = 0
    total: int = 0
    validator: str = ""
    ranges: bool = True
    part: Path = field(init=False)
    page: Path = field(init=False)

    def __post_init__(self) -> None:
        self.part = self.target.with_name(f"{self.target.name}.part")
        self.page = self.target.with_name(f"{self.target.name}.part.json")

    def run(self) -> None:
        self._recall()
        fruitless, heard = 0, False
        while not self.total or self.done < self.total:
            before = self.done
            try:
                with self._open() as response:
                    heard = True
                    if not self.ranges or response.status != 206:
                        self._receive_whole(response)
                        return
                    if not self._continues(response):
                        self._begin_anew(ranges=False)
                        continue
                    self._receive(response, self.total)
                if self.done < self.total:
                    raise _BrokenOff(f"it broke off after {self.done:,} of {self.total:,} bytes")
            except _BrokenOff as error:
                if error.status == 416 and self.ranges:
                    self._begin_anew(ranges=False)
                    continue
                fruitless = 0 if self.done > before else fruitless + 1
                passing = not error.status or error.status in _PASSING
                if not (heard and self.ranges and passing) or fruitless > self.settings.patience:
                    raise self._unreachable(error) from error
                time.sleep(self.settings.pause * 2 ** max(fruitless - 1, 0))

    def _recall(self) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            page = cast("dict[str, Any]", plain_json.loads(self.page.read_text(encoding="utf-8")))
            size = self.part.stat().st_size
            if page["url"] == self.url and 0 < size <= int(page["size"]):
                self.done, self.total = size, int(page["size"])
                self.validator = str(page["version"])
                return
        self._begin_anew(ranges=True)

    def _begin_anew(self, *, ranges: bool) -> None:
        self.forget()
        self.done, self.total, self.validator, self.ranges = 0, 0, "", ranges

    def forget(self) -> None:
        """Deletes what came."""
        self.part.unlink(missing_ok=True)
        self.page.unlink(missing_ok=True)

    def _open(self) -> http.client.HTTPResponse:
        headers = {"User-Agent": "cdfss-bench", "Accept-Encoding": "identity"}
        if self.ranges:
            headers["Range"] = f"bytes={self.done}-{self.total - 1 if self.total else ''}"
        if self.validator:
            # A server whose file has changed sends all of the new one instead of a mixture.
            headers["If-Range"] = self.validator
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310
        with _explained_breaks():
            opened = urllib.request.urlopen(request, timeout=self.settings.timeout)  # noqa: S310
        return cast("http.client.HTTPResponse", opened)

    def _continues(self, response: http.client.HTTPResponse) -> bool:
        """Whether a part follows what is here; the first one says what the whole is."""
        match = _RANGE.fullmatch(response.headers.get("Content-Range") or "")
        if match is None or int(match[1]) != self.done:
            return False
        if not self.total:
            self.total = int(match[3])
            self._refuse_without_space(self.total)
            self.validator = _validator(response)
            if self.validator:
                page = {"url": self.url, "version": self.validator, "size": self.total}
                write_atomically(self.page, json.dumps(page))
        return int(match[3]) == self.total

    def _receive_whole(self, response: http.client.HTTPResponse) -> None:
        """The file in one go, from a server that cannot resume, or has another file by now."""
        self._begin_anew(ranges=False)
        length = int(response.headers.get("Content-Length") or 0)
        self._refuse_without_space(length)
        try:
            self._receive(response, length)
        except BaseException:
            self.forget()
            raise
        if length and self.done != length:
            self.forget()
            raise WrongBytes(
                f"what {self.url} sent is not the published file: "
                f"it broke off after {self.done:,} of {length:,} bytes",
                hint="try again later",
            )

    def _receive(self, response: http.client.HTTPResponse, total: int) -> None:
        with self.part.open("ab") as file:
            while not total or self.done < total:
                with _explained_breaks():
                    chunk = response.read(min(_CHUNK, total - self.done) if total else _CHUNK)
                if not chunk:
                    return
                file.write(chunk)
                self.done += len(chunk)
                if self.listener is not None:
                    self.listener(self.done, total)

    def _refuse_without_space(self, total: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if total > free:
            raise UserError(
                f"{self.url} has {readable_size(total)}, {readable_size(free)} are free in "
                f"{self.part.parent}",
                hint="free some space, or name another disk",
            )

    def _unreachable(self, error: Exception) -> Unreachable:
        kept = self.done > 0 and bool(self.validator)
        if not kept:
            self.forget()
        return Unreachable(
            f"{self.url} could not be downloaded ({error})",
            hint="type the same command again: what came is kept"
            if kept
            else f"download it elsewhere and put it into {self.part.parent}",
        )


@contextmanager
def _explained_breaks() -> Generator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        raise _BrokenOff(error, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOff(getattr(error, "reason", error)) from error


def _validator(response: http.client.HTTPResponse) -> str:
    etag = response.headers.get("ETag") or ""
    # A weak tag does not promise the same bytes.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
