"""Errors of the functions for Python in their words: `data_root=DIR`, not `--data-root DIR`."""

import functools
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import ParamSpec, TypeVar

from cdfss_bench.errors import UserError

from ..planning.plan_words import field_of

P = ParamSpec("P")
R = TypeVar("R")

_SHORT = {"-m": "method", "-d": "domain", "-k": "shots"}
_VALUE = r"'[^']*'|(?!(?:and|or|for|to|first|its|with)\b)[\w./@+=\[\]-]*[\w/\]]"
_OPTION = re.compile(rf"(?<![\w-])(--[a-z][a-z-]*[a-z]|-[mdk])\b(?: ({_VALUE}))?")
_CLAUSES = re.compile(r"(?:(?<=[,;:]) )")


def in_python_words(**renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a function whose errors name options of the command line.

    An option becomes the argument of the function; commands, which are for a shell, stay as they
    are. Part of a hint that names an option the function has no argument for is left out, unless
    it is all there is.

    Args:
        **renamed: arguments of the function that are called otherwise than the field of a plan
            file, such as `data_root="root"`.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        arguments = set(inspect.signature(function).parameters)

        @functools.wraps(function)
        def asked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except UserError as error:
                hint = error.hint and _hint(error.hint, arguments, renamed)
                error.reword(_clause(error.problem, arguments, renamed), hint)
                raise

        return asked

    return decorated


def _hint(text: str, arguments: Collection[str], renamed: Mapping[str, str]) -> str:
    clauses = [_clause(one, arguments, renamed) for one in _CLAUSES.split(text)]
    left = [one for one in clauses if _COMMAND in one or not _OPTION.search(one)]
    return " ".join(left or clauses).rstrip(",;").removeprefix("or ")


_COMMAND = "cdfss-bench "


def _clause(text: str, arguments: Collection[str], renamed: Mapping[str, str]) -> str:
    """Part of a sentence with options as arguments, but for those of a command."""

    def argument(found: re.Match[str]) -> str:
        option, value = found.groups()
        field = field_of(_SHORT.get(option, option))
        name = renamed.get(field, field)
        if name not in arguments:
            return found.group()
        if value is None:
            return name
        is_word = value.isupper() or value.isdecimal() or value.startswith("'")
        return f"{name}={value}" if is_word else f"{name}={value!r}"

    before, command, after = text.partition(_COMMAND)
    return _OPTION.sub(argument, before) + command + after
