"""What files hold: their sha256, and an index on disk that spares hashing them again.

An index entry is believed while size, modification time, change time and inode of the file are
those at the time of hashing. The change time is what nobody can set back: `touch -d`, `cp -p`,
`rsync -t` and unpacking restore the modification time only. A file that was touched within two
seconds before it was hashed is hashed again next time, since a second write may leave the same
times behind (git treats its index likewise).

What remains: on Windows the change time is the time of creation, and some network file systems
report no change time or inode. There a file that was rewritten in place with the same size and
its old modification time is taken for unchanged; `data check --full` ignores the index.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cdfss_bench.canonical import digest, file_sha256
from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically
from cdfss_bench.progress import progress_of

_RACY = 2_000_000_000
"""Nanoseconds within which two writes may leave the same times: FAT counts in steps of two
seconds, and clocks of file servers are a little off."""

_SAVING = 20.0
"""Seconds of hashing after which the index is saved, so that a kill loses no more."""

_ATTEMPTS = 3
_FORMAT = 1

Signature = tuple[int, int, int, int]
"""Size, modification time and change time in nanoseconds, inode."""


class Content(NamedTuple):
    """What a file held when it was hashed.

    Attributes:
        sha256: of its bytes.
        signature: of the file at that time.
        settled: whether the same signature later means the same bytes.
    """

    sha256: str
    signature: Signature
    settled: bool


class FileChangedError(Exception):
    """A file does not hold what it held when it was first looked at.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path):
        super().__init__(f"{path} changed")
        self.path = path


class Contents:
    """The content of the files of one data root, looked at once and checked ever after.

    Args:
        root: the data root; paths are relative to it, or absolute.
        folder: the cache folder, in which the index lies; None keeps none.
    """

    def __init__(self, root: Path, folder: Path | None):
        self._root = root
        self._folder = folder
        self._seen: dict[str, Content] = {}
        self._index: dict[str, Content] | None = None

    def sha256(self, path: str) -> str:
        """sha256 of a file, at the cost of one look at its size and times.

        Raises:
            OSError: if the file cannot be read; it is named.
            FileChangedError: if it holds something else than when it was first looked at.
        """
        if not self._is_known(path):
            self._note(path, _hashed(self._full(path)))
        return self._seen[path].sha256

    def all(self, paths: Iterable[str], what: str, *, again: bool = False) -> dict[str, str]:
        """sha256 of each file, those that the index does not know in parallel.

        Args:
            paths: of the files.
            what: they are, for whoever shows progress.
            again: whether every file is hashed, whatever the index says.

        Raises:
            OSError: naming the first file that cannot be read.
            FileChangedError: if one holds something else than when it was first looked at.
        """
        wanted = sorted(set(paths))
        unknown = [path for path in wanted if again or not self._is_known(path)]
        if unknown:
            self._hash(unknown, what)
        return {path: self._seen[path].sha256 for path in wanted}

    def _is_known(self, path: str) -> bool:
        signature = signature_of(self._full(path))
        if path not in self._seen and (known := self._known(path, signature)) is not None:
            self._seen[path] = known
        seen = self._seen.get(path)
        return seen is not None and seen.settled and seen.signature == signature

    def _hash(self, paths: list[str], what: str) -> None:
        saved = time.monotonic()
        pool = ThreadPoolExecutor(min(32, 2 * (os.cpu_count() or 1) + 2))
        try:
            with progress_of(f"hashing {what}") as tell:
                found = pool.map(_hashed, map(self._full, paths))
                for done, (path, content) in enumerate(zip(paths, found, strict=True), start=1):
                    self._note(path, content)
                    tell(done, len(paths))
                    if time.monotonic() - saved > _SAVING:
                        self._save()
                        saved = time.monotonic()
        finally:
            pool.shutdown(cancel_futures=True)
            self._save()

    def _note(self, path: str, content: Content) -> None:
        seen = self._seen.get(path)
        if seen is not None and seen.sha256 != content.sha256:
            raise FileChangedError(self._full(path))
        self._seen[path] = content

    def _full(self, path: str) -> Path:
        return self._root / path

    def _known(self, path: str, signature: Signature) -> Content | None:
        if self._index is None:
            self._index = self._read()
        entry = self._index.get(path)
        return entry if entry is not None and entry.signature == signature else None

    @property
    def _file(self) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / "contents" / f"{digest(str(self._root.resolve()))[:32]}.index"

    def _read(self) -> dict[str, Content]:
        """The index; empty where there is none, or where it is damaged."""
        if self._file is None:
            return {}
        try:
            checksum, body = self._file.read_bytes().split(b"\n", 1)
            if hashlib.sha256(body).hexdigest().encode() != checksum:
                return {}
            page = json.loads(body)
            if page["format"] != _FORMAT or page["root"] != str(self._root.resolve()):
                return {}
            return {
                path: Content(sha256, tuple(signature), settled=True)
                for path, (sha256, *signature) in page["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _save(self) -> None:
        """Writes what was hashed, beside what other domains and processes noted meanwhile.

        Two processes that write at once may lose entries of one of them, which are hashed again.
        """
        if self._file is None:
            return
        before = self._read()
        ours = {path: content for path, content in self._seen.items() if content.settled}
        others = {p: c for p, c in before.items() if p not in self._seen and self._lasts(p, c)}
        self._index = {**others, **ours}
        if self._index == before:
            return
        files = {path: (c.sha256, *c.signature) for path, c in self._index.items()}
        page = {"format": _FORMAT, "root": str(self._root.resolve()), "files": files}
        # Plain ASCII: a name that is no text (bytes that are no UTF-8) survives in it.
        body = json.dumps(page, separators=(",", ":")).encode()
        try:
            write_atomically(self._file, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        except (OSError, UserError):
            # An index that cannot be written costs time, not results.
            return

    def _lasts(self, path: str, content: Content) -> bool:
        try:
            return signature_of(self._full(path)) == content.signature
        except OSError:
            return False


def signature_of(path: Path) -> Signature:
    """What tells that a file is still the one that was looked at.

    Raises:
        OSError: if it is not there, or no regular file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # to open a pipe would be to wait for ever
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _hashed(path: Path) -> Content:
    for _ in range(_ATTEMPTS):
        began = time.time_ns()
        before = signature_of(path)
        try:
            sha256 = file_sha256(path)
        except OSError as error:
            error.filename = error.filename or str(path)  # a read that fails does not say of what
            raise
        if before == signature_of(path):
            return Content(sha256, before, settled=_is_settled(before, began))
    raise FileChangedError(path)


def _is_settled(signature: Signature, began: int) -> bool:
    _, modified, changed, _ = signature
    # A modification time in the future was set by hand or by unpacking: a write would change it.
    # A change time in the future is that of a clock which is ahead of ours.
    return changed < began - _RACY and abs(modified - began) > _RACY
