"""The words of plan files: those of the flags, with values written as on the command line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cdfss_bench.errors import UserError

_FIELDS = {
    "method": "methods",
    "domain": "domains",
    "seed": "seeds",
    "weights_dir": "weights_dirs",
    "with_controls": "controls",
}
"""Fields of a selection by the flag, where their names differ."""
_OPTIONS = {field: option for option, field in _FIELDS.items()}
_WITHIN = ("groups", "evaluate")
_MOST = 10_000


def flag_of(field: str) -> str:
    """The option by which a field is typed, such as `--weights-dir` for `weights_dirs`."""
    return f"--{_OPTIONS.get(field, field).replace('_', '-')}"


def field_of(flag: str) -> str:
    """The field of an option or of a word of a plan file: `weights_dirs` for `--weights-dir`."""
    word = flag.lstrip("-").replace("-", "_")
    return _FIELDS.get(word, word)


def as_fields(values: Mapping[str, Any], where: Path | str) -> dict[str, Any]:
    """What a plan file says, by the names of fields.

    Args:
        values: as read: `method: [ssp, loec]`, `shots: 1,5`, `seed: 0..4`; the plural of a word
            means the same.
        where: the file, for messages.

    Raises:
        UserError: for a word that is said twice, or numbers that are none.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = field_of(str(key))
        if name in found:
            raise UserError(f"{where}: '{key}' is said twice", hint="write one list")
        found[name] = _value(name, value, where)
    return found


def _value(name: str, value: Any, where: Path | str) -> Any:
    if name in _WITHIN:
        parts = cast("list[Any]", value) if isinstance(value, list) else [value]
        inner = [as_fields(part, where) if isinstance(part, dict) else part for part in parts]
        return inner if isinstance(value, list) else inner[0]
    if name in ("shots", "seeds"):
        return numbers(_many(value), f"{where}: {name}")
    if name in ("methods", "domains"):
        return names(_many(value))
    return tuple(_many(value)) if name == "weights_dirs" else value


def _many(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def numbers(typed: Sequence[Any], word: str) -> tuple[int, ...]:
    """`1,5`, `0..4` and single numbers, each once; `word` begins messages, such as `--seed`.

    Raises:
        UserError: for anything else.
    """
    found: list[int] = []
    for text in (part for one in typed for part in str(one).split(",")):
        first, dots, last = text.partition("..")
        try:
            begin, end = int(first), int(last) if dots else int(first)
        except ValueError:
            shown = text if text.strip() else repr(text)
            problem = f"{word} {shown} is neither a number nor a range like 0..4"
            raise UserError(problem) from None
        if begin < 0 or end < begin:
            raise UserError(f"{word} {text}: numbers begin at 0 and ranges go upwards")
        if end - begin >= _MOST:
            what = "seeds" if "seed" in word else "numbers"
            raise UserError(f"{word} {text}: at most {_MOST:,} {what} at once")
        found += range(begin, end + 1)
    return tuple(dict.fromkeys(found))


def names(typed: Sequence[Any]) -> tuple[Any, ...]:
    """`ssp,loec` as two names; a comma in brackets belongs to the options of a name."""
    found: list[Any] = []
    for one in typed:
        parts = re.split(r",(?![^\[]*\])", one) if isinstance(one, str) else [one]
        found += [part.strip() if isinstance(part, str) else part for part in parts]
    return tuple(found)
