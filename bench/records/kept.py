"""What was computed from files before, kept in the user's cache folder for the next call.

A value is found by what decides it: hashes of the contents that it was computed from, the sources
of this project that compute it, and the versions of Python and NumPy. A damaged file of kept values
(each has a checksum) is made anew; the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cdfss_bench.canonical import digest
from cdfss_bench.datasets.core.decode_cache import default_folder
from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically

_SPARE = 50_000
"""Values that are kept beside those that the last call asked for."""
_SOURCES = (
    *("", "bench/api"),  # an installed package has the modules of `bench/api` at its top
    *("bench/comparison", "bench/records", "bench/statistics", "datasets/core"),
)


class Kept:
    """Values by key, in a file of their own: loaded on entry, written on exit if it grew.

    A folder that cannot be written costs time and nothing else; of two processes that write at
    once one loses its values.

    Args:
        name: of what is kept.
        *parts: tell files of the same name apart.
    """

    def __init__(self, name: str, *parts: str):
        self._path = default_folder() / "kept" / f"{name}-{digest(list(parts))[:16]}.json"
        self._known: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}

    def __enter__(self) -> Kept:
        """Loads the file."""
        self._known = self._loaded()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Writes the file, where there is something new to keep."""
        if self._asked.keys() <= self._known.keys():
            return
        others = [key for key in self._known if key not in self._asked][:_SPARE]
        values = {key: self._known[key] for key in others} | self._asked
        body = json.dumps({"code": _code(), "values": values}, separators=(",", ":")).encode()
        with suppress(OSError, UserError):
            write_atomically(self._path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def get(self, key: object, compute: Callable[[], Any]) -> Any:
        """The value of a key, computed where it is not kept.

        Args:
            key: all that decides the value beside the code, as JSON.
            compute: gives it, as JSON; what it raises is not kept.
        """
        name = key if isinstance(key, str) else digest(key)
        if name not in self._asked:
            self._asked[name] = self._known[name] if name in self._known else compute()
        return self._asked[name]

    def knows(self, key: str) -> bool:
        """Whether a value is kept."""
        return key in self._asked or key in self._known

    def _loaded(self) -> dict[str, Any]:
        try:
            checksum, body = self._path.read_bytes().split(b"\n", 1)
            if hashlib.sha256(body).hexdigest().encode() != checksum:
                return {}
            page = json.loads(body)
            return page["values"] if page["code"] == _code() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


@lru_cache(maxsize=1)
def _code() -> str:
    """Hash of all that computes what is kept, comments included."""
    root = Path(__file__).parents[2]
    files = sorted(path for name in _SOURCES for path in (root / name).glob("*.py"))
    sources = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return digest([sources, sys.version, np.__version__])
