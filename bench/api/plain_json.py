"""JSON as its standard has it: no NaN, no infinities, no key twice."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


class NotFiniteError(ValueError):
    """A text holds NaN or a number that is not finite, which JSON does not know."""


def loads(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        NotFiniteError: if it holds NaN, Infinity, or a number too large for a float.
        ValueError: if it is no JSON, nested too deeply, or an object has a key twice.
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def dumps(value: Any, *, indent: int | None = 1) -> str:
    """`value` as JSON for files that people may read too.

    Raises:
        ValueError: if `value` holds NaN or an infinity.
    """
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def _refused(word: str) -> NoReturn:
    raise NotFiniteError(f"it holds {word}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refused(text)
    return value


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values, where Python's reader keeps the last of two in silence.

    Raises:
        ValueError: if a key is there twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(n for n in names if names.count(n) > 1)}' is there twice")
    return found


_DECODER = json.JSONDecoder(
    parse_constant=_refused, parse_float=_finite, object_pairs_hook=without_duplicates
)
