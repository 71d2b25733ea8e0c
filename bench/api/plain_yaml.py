"""YAML as people expect it: `on`, `no`, `1e-3`, `010` and `12:30` mean what YAML 1.2 says."""

import re
from pathlib import Path
from typing import Any, cast

import yaml

from cdfss_bench.errors import UserError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2.

    YAML 1.1 reads `on:` and `no` as booleans and `1e-3` as text, which silently renames options;
    `010` as 8, `12:30` as 750 and `2018-06-01` as a date. A key that is written twice is an error
    instead of a silent winner.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """A mapping without duplicate keys."""
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if (key.tag, key.value) in seen:
                    raise DuplicateKeyError(str(key.value), key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)


class DuplicateKeyError(yaml.MarkedYAMLError):
    """A mapping holds one key twice."""

    def __init__(self, key: str, mark: yaml.Mark):
        super().__init__(problem=f"the key '{key}' is there twice", problem_mark=mark)


def _integer(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_TAG}null", f"{_TAG}merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    f"{_TAG}int",
    re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_constructor(f"{_TAG}int", _integer)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        UserError: if the file cannot be read, is no YAML, or holds something else.
    """
    try:
        # The loader is a subclass of SafeLoader: it builds plain values only.
        values: object = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text", hint="save it as text in UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as error:
        # The last two: PyYAML's own words for `!!bool maybe` and `!!timestamp nonsense`.
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        if isinstance(error, DuplicateKeyError):
            raise UserError(f"{path}{where}: {error.problem}") from error
        raise UserError(f"{path}{where} is not valid YAML") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a mapping of keys to values")
    mapping = cast("dict[object, Any]", values)
    strange = [key for key in mapping if not isinstance(key, str)]
    if strange:
        raise UserError(f"{path}: the key {strange[0]!r} is not text")
    return cast("dict[str, Any]", mapping)
