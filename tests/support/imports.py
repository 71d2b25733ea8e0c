"""Which module of the project imports which, as its source says."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..conftest import CHECKOUT

FOLDERS = ("bench", "methods", "datasets")
PROJECT = "cdfss_bench"
API_MODULES = sorted(path.name for path in (CHECKOUT / "bench" / "api").glob("*.py"))


def package_name(folder: Path) -> str:
    """The import package that a folder of the checkout is."""
    path = folder.relative_to(CHECKOUT).as_posix()
    return "cdfss_bench" if path == "bench/api" else f"cdfss_bench.{path.replace('/', '.')}"


def package_folders() -> list[Path]:
    return sorted(
        init.parent for name in FOLDERS for init in (CHECKOUT / name).rglob("__init__.py")
    )


def modules() -> Iterator[tuple[str, Path]]:
    """Import name and file of every module of the three folders."""
    for folder in package_folders():
        for path in sorted(folder.glob("*.py")):
            package = package_name(folder)
            yield (package if path.stem == "__init__" else f"{package}.{path.stem}"), path


@lru_cache
def import_graph() -> dict[str, set[str]]:
    """What each module of the project imports of the project, wherever the import stands.

    Imports inside functions and under `TYPE_CHECKING` count. `from package import name` is an
    import of the module `package.name` where there is one, else of `package`.
    """
    known = dict(modules())
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        found = graph[name] = set[str]()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
                source = ".".join([*parents, *([node.module] if node.module else [])])
                for alias in node.names:
                    inner = f"{source}.{alias.name}"
                    found.add(inner if inner in known else source)
        found &= known.keys()
    return graph


def is_below(name: str, owner: str) -> bool:
    """Whether a module is `owner` or lies in it."""
    return name == owner or name.startswith(f"{owner}.")


def importers(owners: tuple[str, ...], forbidden: str) -> list[str]:
    """`module imports module` for every module below `owners` that imports below `forbidden`."""
    return [
        f"{name} imports {target}"
        for name, targets in import_graph().items()
        if any(is_below(name, owner) for owner in owners)
        for target in sorted(targets)
        if is_below(target, forbidden)
    ]
