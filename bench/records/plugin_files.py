"""Which files of a plug-in's folder count, and what each amounts to."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cdfss_bench.canonical import digest, file_sha256
from cdfss_bench.datasets.core.content_index import Signature, signature_of
from cdfss_bench.errors import UserError
from cdfss_bench.methods.weights.card import METADATA_KEY
from cdfss_bench.plain_yaml import read_yaml

_FOLDERS = frozenset({"__pycache__", "node_modules", "build", "dist", "test", "tests", "runs"})
"""Folders that hold no part of a method; `runs` is what this program itself writes."""

_PROSE_SUFFIXES = {".md", ".rst", ".log", ".html", ".pdf"}
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".svg"}
_SUFFIXES = frozenset({".pyc", ".pyo"} | _PROSE_SUFFIXES | _PICTURES)
"""Files that no method reads: compiled, prose, and pictures, which are data of a domain."""

_HEADER = 1 << 16
"""Bytes within which a safetensors file names whose card it holds; metadata comes first."""

_MARKS = {".safetensors": METADATA_KEY.encode(), "index.json": b'"manifest_sha256"'}
"""What stands at the beginning of trained weights and of the index of saved masks."""

_HASH = re.compile("[0-9a-f]{64}")

_PROSE = frozenset(
    {"title", "summary", "paper", "venue", "year", "url", "licence", "deviations", "open"}
)
"""Keys of cards that decide nothing."""


def source_files(folder: Path) -> list[Path]:
    """Python files under `folder`, tests left out."""
    return [path for path in _files(folder) if path.suffix == ".py" and not _is_test(path)]


def data_files(folder: Path) -> list[tuple[str, str]]:
    """Name under `folder` and hash of every other file that a method may read.

    YAML counts by its values, without a card's prose; all else by its bytes, however many.
    """
    return [
        (path.relative_to(folder).as_posix(), _content(path))
        for path in _files(folder)
        if path.suffix != ".py" and path.suffix.lower() not in _SUFFIXES and not _is_written(path)
    ]


def _files(folder: Path) -> Iterator[Path]:
    from cdfss_bench.datasets.core.decode_cache import default_folder

    seen = {os.path.realpath(default_folder())}
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or "pyvenv.cfg" in names:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if _is_part(name))
        paths = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _is_part(folder: str) -> bool:
    hidden_or_made = folder.startswith(".") or folder.endswith(
        (".egg-info", ".tensorboard", ".wandb")
    )
    return not hidden_or_made and folder not in _FOLDERS


def _is_test(path: Path) -> bool:
    # Where a method imports such a file it counts all the same, as an import.
    return path.stem == "conftest" or path.stem.startswith("test_") or path.stem.endswith("_test")


def _is_written(path: Path) -> bool:
    """Whether this program wrote it: what a method learns or answers is no part of what it is."""
    if path.name.endswith((".log.jsonl", ".curve.jsonl", ".training")):
        return True
    if path.suffix == ".safetensors" and _HASH.fullmatch(path.stem):
        return path.parent.name == path.stem[:2]  # encoder outputs that `run` keeps
    mark = _MARKS.get("index.json" if path.name == "index.json" else path.suffix)
    if mark is None:
        return False
    with path.open("rb") as file:
        return mark in file.read(_HEADER)


def _content(path: Path) -> str:
    if path.suffix in (".yaml", ".yml"):
        try:
            values = read_yaml(path)
            prose = _PROSE if values.keys() & {"class", "is"} else ()
            return digest({key: value for key, value in values.items() if key not in prose})
        except (UserError, TypeError, ValueError):
            pass  # no card: its bytes count
    return _sha256(path, signature_of(path))


@lru_cache(maxsize=1024)
def _sha256(path: Path, _signature: Signature) -> str:
    return file_sha256(path)
