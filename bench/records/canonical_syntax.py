"""A form of Python source that is the same on every version of Python and for every layout.

Neither the tokens nor `ast.dump` are: f-strings are other tokens from 3.12 on, and every version
dumps a tree in another way. The tree itself says the same everywhere once empty fields are left
out, neighbouring pieces of an f-string are joined, and constants are spelled in ASCII.

Comments, docstrings, quotes, parentheses and the order of imports are not in it. The module from
which a name is imported stands apart (`Imported`), so that moving a file is no change of those
that import from it.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, cast


class Imported(NamedTuple):
    """A name that is imported.

    Attributes:
        module: as written, with its leading dots.
        name: what is taken from the module; empty for the module itself.
        binding: what it is called here.
    """

    module: str
    name: str
    binding: str


Part = str | Imported

_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_Item = ast.AST | Imported | str


def canonical_parts(source: bytes) -> tuple[Part, ...]:
    """The source in canonical form: text, and in between what is imported.

    Raises:
        SyntaxError: if this version of Python cannot parse it.
        ValueError: if it holds null bytes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes: the author's business
        tree = ast.parse(source)
    parts: list[Part] = []
    text: list[str] = []
    waiting: list[_Item] = [tree]  # and no recursion: a long sum is a deep tree
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            text.append(item)
        elif isinstance(item, Imported):
            parts += ["".join(text), item]
            text = []
        else:
            waiting.extend(reversed(list(_written(item))))
    return (*parts, "".join(text))


def _written(node: ast.AST) -> Iterator[_Item]:
    if isinstance(node, ast.Constant):
        # `ascii`, since which characters `repr` takes for printable differs between versions.
        yield f"{type(node.value).__name__} {node.value!a},"
        return
    if isinstance(node, ast.Call):
        yield from _imported_by_name(node)
    yield f"{type(node).__name__}("
    if isinstance(node, ast.JoinedStr):
        yield from _joined(node)
    else:
        for field in _fields(type(node)):
            yield from _field(field, getattr(node, field, None))
    yield "),"


def _imported_by_name(call: ast.Call) -> Iterator[Imported]:
    match call:
        case ast.Call(
            func=ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(str() as name), *_],
        ):
            yield Imported(name, "", name)
        case _:
            pass


def _field(name: str, value: object) -> Iterator[_Item]:
    # What a version does not know yet is empty in the next one: nothing is what both say.
    if value is None or value == [] or value == 0:
        return
    if not isinstance(value, list):
        yield f"{name}="
        yield _item(value)
        return
    items = cast("list[object]", value)
    if isinstance(items[0], ast.stmt):
        items = _statements(cast("list[ast.stmt]", items))
    if items:
        yield f"{name}=["
        yield from map(_item, items)
        yield "],"


def _item(value: object) -> _Item:
    return value if isinstance(value, ast.AST | Imported) else f"{value!a},"


def _statements(body: Iterable[ast.stmt]) -> list[object]:
    """The statements that do something, after what the block imports."""
    kept, imported = _sorted_out(body)
    imported.sort(key=lambda one: (one.name, one.binding))
    return [*imported, *kept]


def _sorted_out(body: Iterable[ast.stmt]) -> tuple[list[ast.stmt], list[Imported]]:
    kept: list[ast.stmt] = []
    imported: list[Imported] = []
    for statement in body:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Import(names=names):
                for alias in names:
                    imported.append(Imported(alias.name, "", alias.asname or alias.name))
            case ast.ImportFrom(names=names):
                module = "." * statement.level + (statement.module or "")
                for alias in names:
                    imported.append(Imported(module, alias.name, alias.asname or alias.name))
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                others, more = _sorted_out(statement.orelse)
                kept += others
                imported += more
            case _:
                kept.append(statement)
    return kept, imported


def _joined(string: ast.JoinedStr) -> Iterator[_Item]:
    text = ""
    for value in string.values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
            continue
        if text:
            yield f"{text!a},"
        text = ""
        if isinstance(value, ast.FormattedValue):
            yield from ("{", value.value, f"!{value.conversion}")
            if isinstance(value.format_spec, ast.JoinedStr):
                yield from _joined(value.format_spec)
            yield "},"
        else:
            yield value
    if text:
        yield f"{text!a},"


@lru_cache(maxsize=256)
def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(sorted(set(kind._fields) - _IGNORED))
