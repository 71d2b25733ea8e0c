"""`data fetch`: public files are downloaded, for the rest a person is told what to do."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cdfss_bench.canonical import file_sha256
from cdfss_bench.downloads import Settings, download
from cdfss_bench.errors import DataError, UserError
from cdfss_bench.files import write_atomically

from ..core.card import Download
from ..core.registry import DOMAINS
from .running import command, downloads_folder
from .sources import is_archive

_READ = 2**22


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one file of a domain.

    Attributes:
        file: its name in the folder of downloads.
        state: `here` (it was there), `downloaded`, `by hand` (somebody must click), or
            `failed`.
        detail: what to click, or why it failed.
        hint: what helps.
    """

    file: str
    state: Literal["here", "downloaded", "by hand", "failed"]
    detail: str = ""
    hint: str = ""


def fetch(
    name: str,
    root: Path,
    *,
    listener: Callable[[str], Callable[[int, int], None] | None] | None = None,
    settings: Settings | None = None,
) -> list[Fetched]:
    """Gets the files of a domain into `root/downloads/NAME`; one that fails does not stop others.

    Args:
        name: of the domain.
        root: the data root.
        listener: gives, for a file's name, what is told (bytes here, bytes in all).
        settings: of connections.

    Raises:
        UserError: for an unknown domain, or one that needs no download.
    """
    card = DOMAINS.card(name)
    if not card.downloads:
        raise DataError(
            f"{card.title} has no download",
            hint="it is drawn by code"
            if card.suite == "mini"
            else f"cdfss-bench data check {name} shows the layout of your own files",
        )
    folder = downloads_folder(root, name)
    results: list[Fetched] = []
    for entry in card.downloads:
        if not entry.url:
            results.append(_by_hand(entry, folder, name, root))
            continue
        target = folder / entry.file
        before = target.is_file()
        tell = listener(entry.file) if listener is not None else None
        try:
            download(
                entry.url,
                target,
                sha256=entry.sha256,
                damage=None if entry.sha256 else damage_of,
                listener=tell,
                settings=settings,
            )
            if not entry.sha256 and not before:
                # No publisher's hash exists: ours at least shows whether two downloads differ.
                note = f"{file_sha256(target)}  {target.name}\n"
                write_atomically(target.with_name(f"{target.name}.sha256"), note)
            results.append(Fetched(entry.file, "here" if before else "downloaded"))
        except UserError as error:
            results.append(Fetched(entry.file, "failed", error.problem, error.hint or ""))
    return results


def _by_hand(entry: Download, folder: Path, name: str, root: Path) -> Fetched:
    others = list(folder.iterdir()) if folder.is_dir() else []
    if any(path.is_dir() or is_archive(path.name) for path in others):
        return Fetched(entry.file, "here")  # browsers save it under names of their own
    return Fetched(
        entry.file,
        "by hand",
        f"open {entry.page} and {entry.click}",
        f"put the file into {folder}, then: {command('prepare', name, root)}",
    )


def damage_of(path: Path) -> str:
    """What is wrong with a downloaded archive, read to its end; "" for nothing."""
    with path.open("rb") as file:
        begin = file.read(512)
    if begin.lstrip()[:1] == b"<":
        return "it is a web page"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            return f"{broken} in it is damaged" if broken else ""
        if begin.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as packed:
                while packed.read(_READ):
                    pass
            return ""
        with tarfile.open(path, "r:") as archive:
            end = max((m.offset_data + m.size for m in archive), default=0)
        return "it is cut short" if end > path.stat().st_size else ""
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        return f"it is no whole archive ({error})"
