"""YAML as people expect it: `on`, `no` and `1e-3` mean what YAML 1.2 says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import yaml

from cdfss_bench.errors import UserError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2.

    YAML 1.1 reads `on:` and `no` as booleans and `1e-3` as text, which silently renames options.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        UserError: if the file cannot be read, is no YAML, or holds something else.
    """
    try:
        # The loader is a subclass of SafeLoader: it builds plain values only.
        values: object = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise UserError(f"{path}{where} is not valid YAML") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a mapping of keys to values")
    mapping = cast("dict[object, Any]", values)
    strange = [key for key in mapping if not isinstance(key, str)]
    if strange:
        raise UserError(f"{path}: the key {strange[0]!r} is not text")
    return cast("dict[str, Any]", mapping)
