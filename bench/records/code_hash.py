"""Which code computed a number: a hash over the contents of all of it that can change the result.

The files are those that a module imports, directly or not. Each counts by its content (see
`bench.syntax`) and by the contents of the modules that its names come from, never by a path: a file
that is moved, with the imports that follow it, leaves every hash as it was.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from cdfss_bench.canonical import digest

from .canonical_syntax import Imported
from .plugin_files import data_files, source_files
from .source_forms import EMPTY, form_of

_PROJECT = "cdfss_bench"
_PACKAGES = ("cdfss_bench.methods", "cdfss_bench.datasets", "cdfss_bench.bench", "cdfss_bench")

WITHOUT_NUMBERS = frozenset(
    f"cdfss_bench.{name}"
    for name in (
        # Messages, files and cards; what a card's values change stands in the cell's id.
        "errors",
        "files",
        "cards",
        "options",
        "plain_yaml",
        "downloads",
        "methods.registry.card",
        "datasets.core.card",
        # What they decide stands in the manifest, which is hashed.
        "datasets.core.samplers",
        # How results are kept.
        "bench.records.schema",
    )
)
"""Modules of the project that no hash is over, since nothing in them can change a count."""

_COMMON = frozenset({"torch", "numpy", "PIL", "pandas", "yaml", "pydantic", "safetensors"})
"""What everything here is computed with: the versions stand in each record's environment."""


@dataclass(frozen=True, slots=True)
class _Module:
    """A source file.

    Attributes:
        name: by which it is imported.
        path: of the file.
    """

    name: str
    path: Path

    def absolute(self, module: str) -> str:
        """The absolute name of a module that this one imports from."""
        level = len(module) - len(module.lstrip("."))
        if not level:
            return module
        parents = self.name.split(".")
        keep = len(parents) - level + (self.path.name == "__init__.py")
        return ".".join(filter(None, (*parents[: max(0, keep)], module[level:])))


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A plug-in's folder.

    Attributes:
        folder: where it lies.
        package: import name; empty for a folder named on the command line.
    """

    folder: Path
    package: str

    def file(self, name: str) -> Path | None:
        """The file of a module that lies in the folder."""
        inside = name if not self.package else name.removeprefix(self.package)
        if self.package and name != self.package and not inside.startswith("."):
            return None
        return _file(self.folder, [part for part in inside.split(".") if part])

    def modules(self) -> list[_Module]:
        """Every source file of it."""
        found: list[_Module] = []
        for path in source_files(self.folder):
            parts = list(path.relative_to(self.folder).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found.append(_Module(".".join(filter(None, (self.package, *parts))), path))
        return found


def code_hash(*modules: str) -> str:
    """sha256 over the modules and everything of this project that they import.

    Docstrings, comments, formatting and the places of files do not count; neither do
    `WITHOUT_NUMBERS`.

    Args:
        *modules: import names; nothing is imported, the sources are read.

    Raises:
        ValueError: if a module has no source.
    """
    start: list[_Module] = []
    for name in modules:
        path = _found(name, None)
        if not isinstance(path, Path):
            # A script, or a module that was loaded from where nobody finds it by name.
            loaded = getattr(sys.modules.get(name), "__file__", None)
            if loaded is None:
                raise ValueError(f"the module {name} has no source file")
            path = Path(loaded)
        start.append(_Module(name, path))
    return _hash_of(start, None)


def plugin_hash(folder: Path, package: str = "") -> str:
    """sha256 over all files of a plug-in and everything that they import.

    What its modules import counts as follows: modules of this project and modules that lie
    elsewhere, but are not installed, with their contents; other installed packages by name and
    version. The standard library, and what this project itself requires, do not count.

    Args:
        folder: of the plug-in, or of the installed package that announces it.
        package: the import name of the latter.
    """
    plugin = _Plugin(folder, package)
    return _hash_of(plugin.modules(), plugin)


def package_folder(package: str) -> tuple[Path, str] | None:
    """The folder and the name of the outermost regular package that `package` lies in."""
    first, *inner = package.split(".")
    spec = _spec(first)
    for place in (spec.submodule_search_locations if spec is not None else None) or ():
        folder, name = Path(place), first
        for part in inner:
            if (folder / "__init__.py").is_file():
                break
            folder, name = folder / part, f"{name}.{part}"
        if folder.is_dir():
            return folder, name
    return None


def _hash_of(start: Iterable[_Module], plugin: _Plugin | None) -> str:
    waiting, seen = list(start), set[Path]()
    code, installed = set[str](), set[str]()
    while waiting:
        module = waiting.pop()
        if module.path in seen:
            continue
        seen.add(module.path)
        form = form_of(module.path)
        taken: list[tuple[str, str, str]] = []
        for imported in form.imports:
            origin = imported.module
            for name in _names(imported, module, plugin):
                found = _found(name, plugin)
                if isinstance(found, str):
                    installed.add(found)
                elif found is not None:
                    counts = name not in WITHOUT_NUMBERS
                    origin = form_of(found).shallow if counts else ""
                    waiting += [_Module(name, found)] if counts else []
            taken.append((origin, imported.name, imported.binding))
        if taken or form.text != EMPTY:
            code.add(digest([form.text, taken]))
    data = [] if plugin is None else data_files(plugin.folder)
    return digest([sorted(code), data, sorted(installed)])


def _names(imported: Imported, module: _Module, plugin: _Plugin | None) -> list[str]:
    """The modules that an import reads, the one last that the name comes from."""
    base = module.absolute(imported.module)
    if imported.name and isinstance(_found(f"{base}.{imported.name}", plugin), Path):
        base = f"{base}.{imported.name}"  # `from . import mini` names a module
    parts = base.split(".")
    if parts[0] == _PROJECT:
        return [_home(base, imported.name, plugin)]
    # Packages elsewhere run their `__init__` first.
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _home(module: str, name: str, plugin: _Plugin | None) -> str:
    """The module of this project that defines what a package hands on under `name`."""
    path = _found(module, plugin)
    if isinstance(path, Path) and path.name == "__init__.py":
        for imported in form_of(path).imports:
            if name and imported.binding == name:
                origin = _Module(module, path).absolute(imported.module)
                inside = f"{origin}.{imported.name}"
                if isinstance(_found(inside, plugin), Path):
                    return inside
                return _home(origin, imported.name, plugin)
    return module


def _found(name: str, plugin: _Plugin | None) -> Path | str | None:
    """The file of a module; of an installed package its name and version; None of all others."""
    if plugin is not None and (path := plugin.file(name)) is not None:
        return path
    if name.partition(".")[0] == _PROJECT:
        return _of_project(name)
    return _elsewhere(name)


@lru_cache(maxsize=4096)
def _of_project(name: str) -> Path | None:
    for package in _PACKAGES:
        if name == package or name.startswith(f"{package}."):
            spec = find_spec(package)
            places = (spec.submodule_search_locations if spec is not None else None) or []
            inner = name.removeprefix(package).split(".")[1:]
            return next(filter(None, (_file(Path(place), inner) for place in places)), None)
    return None


@lru_cache(maxsize=4096)
def _elsewhere(name: str) -> Path | str | None:
    first, *inner = name.split(".")
    if first in _COMMON or first in sys.stdlib_module_names:
        return None
    spec = _spec(first)
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    file = Path(spec.origin) if spec.origin and spec.has_location else None
    if any(map(_is_installed, [*places, *([file] if file else [])])):
        return _distribution(first)
    if not inner and file is not None:
        return file
    return next(filter(None, (_file(place, inner) for place in places)), None)


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a module that was made by hand
        return None


def _file(folder: Path, inner: Sequence[str]) -> Path | None:
    path = folder.joinpath(*inner)
    plain = path.with_name(f"{path.name}.py")
    if inner and plain.is_file():
        return plain
    package = path / "__init__.py"
    return package if package.is_file() else None


def _is_installed(path: Path) -> bool:
    return bool({"site-packages", "dist-packages"} & set(path.parts))


@lru_cache(maxsize=256)
def _distribution(module: str) -> str:
    try:
        return f"{module}=={version(module)}"
    except PackageNotFoundError:
        names = sorted(set(packages_distributions().get(module, ())))
        return ", ".join(f"{name}=={version(name)}" for name in names) or module
