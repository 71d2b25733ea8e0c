"""Which code computed a number: a hash over all of it that can change the result."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cdfss_bench.canonical import digest

_PACKAGES = ("cdfss_bench.methods", "cdfss_bench.datasets", "cdfss_bench.bench")


def code_hash(*modules: str) -> str:
    """sha256 over the modules and everything of this project that they import.

    Docstrings, comments and formatting do not count: the hash is over the syntax tree. A module
    outside the project (a plug-in's) counts, what it imports from elsewhere does not.

    Args:
        *modules: import names; nothing is imported, the sources are read.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in seen or path is None:
            continue
        tree_hash, imported = _analysed(path, name)
        seen[name] = tree_hash
        waiting += [other for other in imported if other.startswith(_PACKAGES)]
    return digest(seen)


def file_code_hash(path: Path) -> str:
    """As `code_hash`, of a single file that is in no package (a plug-in folder's)."""
    tree_hash, imported = _analysed(path, path.stem)
    return digest([tree_hash, code_hash(*(n for n in imported if n.startswith(_PACKAGES)))])


@lru_cache(maxsize=256)
def _analysed(path: Path, name: str) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    is_package = path.name == "__init__.py"
    imported = tuple(sorted(set(_imports(tree, name, is_package=is_package))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return digest(ast.dump(tree)), imported


def _imports(tree: ast.Module, name: str, *, is_package: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")
                keep = len(parents) - node.level + (1 if is_package else 0)
                base = ".".join(filter(None, (".".join(parents[:keep]), base)))
            yield base
            # `from . import mini` names a module, `from .mini import Picture` an attribute.
            yield from (f"{base}.{alias.name}" for alias in node.names)


@lru_cache(maxsize=1024)
def _source(name: str) -> Path | None:
    """The file of a module, found without importing it; None for an attribute or a stranger."""
    for package in _PACKAGES:
        if name == package or name.startswith(f"{package}."):
            spec = importlib.util.find_spec(package)
            if spec is None or not spec.submodule_search_locations:
                return None
            path = Path(spec.submodule_search_locations[0], *name[len(package) + 1 :].split("."))
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if candidate.is_file():
                    return candidate
            return None
    spec = importlib.util.find_spec(name)
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin is not None and origin.endswith(".py") else None
