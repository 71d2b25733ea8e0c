"""The files of a download, whether it is a folder, an archive, or a folder with archives in it.

Nothing is ever written under a name that an archive chose: the recipes read entries and name what
they make themselves. What an archive declares is checked all the same, so that a file made to
harm, or one that is not the official download, is refused before it is read.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import IO, Any

from cdfss_bench.errors import DataError
from cdfss_bench.files import explained_os_errors

JOURNAL = ".prepared.jsonl"
"""Stands in every folder that was prepared."""

MAX_FILE = 256 * 2**20
"""Bytes; the largest single file of any official download (a chest film) has about 20 MiB."""

MAX_ENTRIES = 1_000_000
MAX_UNPACKED = 64 * 2**30
"""Bytes to which a compressed tar may grow; SBD's 1.3 GiB grow to less than 3."""

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open
}  # fmt: skip
_LITTER = {"thumbs.db", "desktop.ini", ".ds_store"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a download.

    Attributes:
        path: with `/`, inside the folder or archive.
        size: bytes, as declared.
        stamp: changes when the file does (CRC in an archive, time on disk).
        origin: where the user finds it, for messages.
        local: its place on disk, if it lies there unpacked.
    """

    path: str
    size: int
    stamp: str
    origin: str
    local: Path | None
    _load: Callable[[], bytes] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The last part of the path of the folder it lies in."""
        return self.path.rpartition("/")[0].rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The last suffix in small letters, `.jpg`."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def plain_name(self) -> str:
        """The name with its suffix in small letters, as all published layouts have it."""
        return self.stem + self.suffix

    def read(self) -> bytes:
        """The bytes.

        Raises:
            DataError: if they cannot be read, or are not what was declared.
        """
        if self.size > MAX_FILE:
            raise DataError(f"{self.origin} has {self.size} bytes: that is no picture of ours")
        try:
            data = self._load()
        except (
            OSError,
            EOFError,
            RuntimeError,
            NotImplementedError,
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
        ) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{self.origin} cannot be read ({reason})") from error
        if len(data) != self.size:
            raise DataError(f"{self.origin} has {len(data)} bytes instead of {self.size}")
        return data


class Source:
    """All files of one or several downloads; a context manager, since archives stay open.

    Args:
        places: folders and archives; archives that lie in a folder are opened too.
        workplace: where a compressed tar is unpacked for the time being; by default the
            system's temporary folder.

    Attributes:
        entries: sorted by path; where a file is there unpacked and packed, the unpacked one.
        remarks: what was left out of the listing and why.
    """

    def __init__(self, places: Iterable[Path], workplace: Path | None = None):
        self.entries: list[Entry] = []
        self.remarks: dict[str, None] = {}
        self._places = list(places)
        self._workplace = workplace
        self._stack = ExitStack()

    def __enter__(self) -> Source:
        """Lists everything.

        Raises:
            DataError: if a place is absent, unreadable, or an archive is not to be trusted.
        """
        try:
            loose: list[Entry] = []
            packed: list[Entry] = []
            for place in self._places:
                if place.is_dir():
                    found = list(self._walk(place))
                    archives = [e for e in found if is_archive(e.name)]
                    loose += [e for e in found if not is_archive(e.name)]
                    for archive in archives:
                        assert archive.local is not None
                        packed += self._opened(archive.local)
                elif place.exists():
                    packed += self._opened(place)
                else:
                    raise DataError(
                        f"{place} does not exist",
                        hint="name the downloaded archive or the unpacked folder with --from",
                    )
            self.entries = self._without_repeats(loose, packed)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the archives."""
        self._stack.close()

    def _walk(self, top: Path) -> Iterator[Entry]:
        seen: set[tuple[int, int]] = set()
        waiting = [(top, "")]
        while waiting:
            folder, inside = waiting.pop()
            try:
                status = folder.stat()
                children = sorted(os.scandir(folder), key=lambda child: child.name)
            except OSError as error:
                raise DataError(f"{folder} cannot be read ({error.strerror})") from error
            if (status.st_dev, status.st_ino) in seen:
                continue  # a link that leads back up
            if any(child.name == JOURNAL for child in children):
                continue  # a tree that was prepared is no download
            seen.add((status.st_dev, status.st_ino))
            for child in children:
                path = f"{inside}{child.name}"
                if child.is_dir():
                    waiting.append((folder / child.name, f"{path}/"))
                elif child.is_file():
                    if not _is_litter(path):
                        yield _on_disk(folder / child.name, path, child.stat())
                else:
                    self.remarks[f"{folder / child.name} is a link to nothing, or no file"] = None

    def _opened(self, archive: Path) -> list[Entry]:
        try:
            if zipfile.is_zipfile(archive):
                return list(self._zip(archive))
            return list(self._tar(archive))
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as e:
            raise DataError(
                f"{archive} is not a whole archive ({e})",
                hint="download it again: cdfss-bench data fetch takes up where it stopped",
            ) from e
        except OSError as error:
            raise DataError(f"{archive} cannot be read ({error.strerror or error})") from error

    def _zip(self, archive: Path) -> Iterator[Entry]:
        opened = self._stack.enter_context(zipfile.ZipFile(archive))
        infos = opened.infolist()
        _refuse_crowds(archive, len(infos))
        for info in infos:
            path = _safe(archive, info.filename)
            if info.is_dir() or _is_litter(path):
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                self.remarks[f"{archive}: {path} is a link and is left out"] = None
                continue

            def load(info: zipfile.ZipInfo = info) -> bytes:
                with opened.open(info) as file:
                    return file.read(MAX_FILE + 1)

            yield Entry(path, info.file_size, f"{info.CRC:08x}", f"{archive}: {path}", None, load)

    def _tar(self, archive: Path) -> Iterator[Entry]:
        plain = self._stack.enter_context(self._uncompressed(archive))
        stamp = str(archive.stat().st_mtime_ns)
        turn = threading.Lock()
        with tarfile.open(fileobj=plain, mode="r:") as opened:
            for count, member in enumerate(opened):
                _refuse_crowds(archive, count)
                path = _safe(archive, member.name)
                if member.isdir() or _is_litter(path):
                    continue
                if not member.isfile() or member.sparse is not None:
                    self.remarks[f"{archive}: {path} is a link or no file and is left out"] = None
                    continue

                def load(start: int = member.offset_data, size: int = member.size) -> bytes:
                    with turn:
                        plain.seek(start)
                        return plain.read(size)

                yield Entry(path, member.size, stamp, f"{archive}: {path}", None, load)

    def _uncompressed(self, archive: Path) -> IO[bytes]:
        opener = _opener(archive)
        if opener is None:
            return archive.open("rb")
        whole: IO[bytes] = tempfile.TemporaryFile(dir=self._workplace)  # noqa: SIM115
        try:
            with (
                opener(archive) as packed,
                explained_os_errors(self._workplace or archive, f"unpacking {archive.name}"),
            ):
                while chunk := packed.read(2**22):
                    whole.write(chunk)
                    if whole.tell() > MAX_UNPACKED:
                        raise DataError(f"{archive} grows beyond all bounds when it is unpacked")
            whole.seek(0)
        except BaseException:
            whole.close()
            raise
        return whole

    def _without_repeats(self, loose: list[Entry], packed: list[Entry]) -> list[Entry]:
        by_path = attrgetter("path")
        chosen: dict[str, Entry] = {}
        repeated = 0
        for entry in (*sorted(loose, key=by_path), *sorted(packed, key=by_path)):
            first = chosen.setdefault(entry.path, entry)
            if first is entry:
                continue
            repeated += 1
            if first.size != entry.size:
                self.remarks[f"{first.origin} and {entry.origin} differ: the former is taken"] = (
                    None
                )
        if repeated:
            self.remarks[f"{repeated} files are there twice (packed and unpacked)"] = None
        return sorted(chosen.values(), key=by_path)


def _on_disk(place: Path, path: str, status: os.stat_result) -> Entry:
    def load() -> bytes:
        with place.open("rb") as file:
            return file.read(MAX_FILE + 1)

    return Entry(path, status.st_size, str(status.st_mtime_ns), str(place), place, load)


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return name.lower().endswith(_ARCHIVES)


def _is_litter(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("._") or name.lower() in _LITTER or path.startswith("__MACOSX/")


def _safe(archive: Path, name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":") or "\0" in name:
        raise DataError(
            f"{archive} holds a path that leaves its folder ({name!r}): "
            "that is not the official download"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def _refuse_crowds(archive: Path, count: int) -> None:
    if count > MAX_ENTRIES:
        raise DataError(f"{archive} lists more than {MAX_ENTRIES} files: no download of ours does")


def _opener(archive: Path) -> Callable[[Path], IO[bytes]] | None:
    """What unpacks the archive, by its first bytes; None for a plain tar."""
    with archive.open("rb") as file:
        begin = file.read(6)
    return next((opener for magic, opener in _OPENERS.items() if begin.startswith(magic)), None)


def free_bytes(place: Path) -> int:
    """Free bytes on the disk of `place`, which need not exist yet."""
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
