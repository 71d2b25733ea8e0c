"""What a source file amounts to for the code hash, remembered from one process to the next."""

import atexit
import hashlib
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cdfss_bench.canonical import file_sha256
from cdfss_bench.datasets.core.content_index import Signature, signature_of
from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically

from . import canonical_syntax as syntax
from .canonical_syntax import Imported, canonical_parts

EMPTY = hashlib.sha256(b"Module(),").hexdigest()
"""The text of a file that does nothing."""

_MOST = 4000
"""Forms that the index keeps; beyond, only those that this process asked for."""


class Form(NamedTuple):
    """A source file without its comments, layout and the modules that it imports from.

    Attributes:
        text: sha256 of the canonical text.
        imports: what is imported, in canonical order.
    """

    text: str
    imports: tuple[Imported, ...]

    @property
    def shallow(self) -> str:
        """The form in one line, whatever the modules are called that are imported from."""
        names = ",".join(f"{one.name} as {one.binding}" for one in self.imports)
        return f"{self.text} {names}"


def form_of(path: Path) -> Form:
    """The form of a file; of one that this Python cannot parse, the hash of its bytes."""
    return _read(path, signature_of(path))


@lru_cache(maxsize=4096)
def _read(path: Path, _signature: Signature) -> Form:
    raw = path.read_bytes()
    key = hashlib.sha256(raw).hexdigest()
    index = _index()
    if (known := index.get(key)) is not None:
        return known
    return index.add(key, _made(raw, key))


def _made(raw: bytes, key: str) -> Form:
    try:
        parts = canonical_parts(raw)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Form(key, ())
    text = "".join(part if isinstance(part, str) else "import," for part in parts)
    imports = tuple(part for part in parts if isinstance(part, Imported))
    return Form(hashlib.sha256(text.encode()).hexdigest(), imports)


class _Index:
    """Forms by the sha256 of the file's bytes, on disk; where that fails they are made again."""

    def __init__(self, path: Path):
        self._path = path
        # Forms that another way of making them gave are of no use.
        self._made_by = file_sha256(Path(syntax.__file__))
        self._known = self._loaded()
        self._asked: set[str] = set()
        self._grown = False

    def get(self, key: str) -> Form | None:
        self._asked.add(key)
        return self._known.get(key)

    def add(self, key: str, form: Form) -> Form:
        self._known[key] = form
        self._grown = True
        return form

    def save(self) -> None:
        if not self._grown:
            return
        kept = self._known
        if len(kept) > _MOST:
            kept = {key: kept[key] for key in self._asked}
        values = {"made by": self._made_by, "forms": kept}
        with suppress(OSError, UserError):
            write_atomically(self._path, json.dumps(values, separators=(",", ":")))

    def _loaded(self) -> dict[str, Form]:
        try:
            values = json.loads(self._path.read_bytes())
            if values["made by"] != self._made_by:
                return {}
            return {
                str(key): Form(str(text), tuple(Imported(*map(str, one)) for one in imports))
                for key, (text, imports) in values["forms"].items()
            }
        except (OSError, ValueError, TypeError, KeyError):
            return {}


@lru_cache(maxsize=1)
def _index() -> _Index:
    from cdfss_bench.datasets.core.decode_cache import default_folder

    index = _Index(default_folder() / "code-forms.json")
    atexit.register(index.save)
    return index
