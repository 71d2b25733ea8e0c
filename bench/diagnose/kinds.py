"""The kinds of diagnosis by name; a kind's module is imported when it is asked for."""

import importlib
from typing import Any

from cdfss_bench.errors import unknown

KINDS: tuple[str, ...] = (
    "curve",
    "features",
    "sharpness",
    "freeze",
    "cka",
    "frequency",
    "lcm",
    "layers",
)
"""Each is a module of this package whose `diagnose` takes a `Subject` and gives a `Finding`.

It may declare `OPTIONS`, a mapping of names to `cdfss_bench.options.Option`, for `--set KEY=VALUE`,
and `EPISODES`, how many of each domain it asks where nothing else was typed."""


def module_of(kind: str) -> Any:
    """The module of a kind.

    Raises:
        UserError: for an unknown name; the nearest ones are offered.
    """
    if kind not in KINDS:
        raise unknown("diagnosis", kind, [*KINDS, "all"])
    return importlib.import_module(f"{__package__}.{kind}")


def options_of(kind: str) -> dict[str, Any]:
    """The options that the kind declares.

    Raises:
        UserError: for an unknown name.
    """
    return getattr(module_of(kind), "OPTIONS", {})
