"""The kinds of diagnosis by name; a kind's module is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cdfss_bench.errors import unknown
from cdfss_bench.options import Option

if TYPE_CHECKING:
    from .finding import Finding
    from .subject import Subject

_HERE = "cdfss_bench.bench.diagnose"

KINDS: dict[str, str] = {
    "curve": f"{_HERE}.curve:diagnose",
    "features": f"{_HERE}.features:diagnose",
    "sharpness": f"{_HERE}.sharpness:diagnose",
    "freeze": f"{_HERE}.freeze:diagnose",
    "cka": f"{_HERE}.cka:diagnose",
    "frequency": f"{_HERE}.frequency:diagnose",
    "lcm": f"{_HERE}.lcm:diagnose",
    "layers": f"{_HERE}.layers:diagnose",
}
"""Name -> "module:function". The function takes a `Subject` and gives a `Finding`; the module may
declare `OPTIONS`, a mapping of names to `cdfss_bench.options.Option`, for `--set KEY=VALUE`, and
`EPISODES`, how many of each domain it asks where nothing else was typed."""

Diagnose = Callable[["Subject"], "Finding"]


def function_of(kind: str) -> Diagnose:
    """What carries out the diagnosis of that name.

    Raises:
        UserError: for an unknown name; the nearest ones are offered.
    """
    module, _, name = _target(kind).partition(":")
    found: Diagnose = getattr(importlib.import_module(module), name)
    return found


def options_of(kind: str) -> Mapping[str, Option]:
    """The options that the kind declares.

    Raises:
        UserError: for an unknown name.
    """
    module: Any = importlib.import_module(module_of(kind))
    return getattr(module, "OPTIONS", {})


def usual_episodes(kind: str) -> int | None:
    """Episodes of each domain that the kind asks by default, if it says so.

    Raises:
        UserError: for an unknown name.
    """
    module: Any = importlib.import_module(module_of(kind))
    return getattr(module, "EPISODES", None)


def module_of(kind: str) -> str:
    """The import name of the kind's module.

    Raises:
        UserError: for an unknown name.
    """
    return _target(kind).partition(":")[0]


def _target(kind: str) -> str:
    if kind not in KINDS:
        raise unknown("diagnosis", kind, [*KINDS, "all"])
    return KINDS[kind]
