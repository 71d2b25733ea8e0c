"""Cards: the YAML page that stands beside each method and each domain, and how they are found.

A card is all that `list`, `report` and shell completion read; the code it names is imported only
when somebody builds the thing. Three origins are searched, in this order: the built-in folder,
installed packages that announce an entry point, and folders named on the command line. A name that
two origins claim is refused with both of them, since a silent winner would change results.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cdfss_bench.canonical import digest
from cdfss_bench.errors import UserError, refuse_no_text, unknown
from cdfss_bench.plain_yaml import read_yaml


class Card(BaseModel):
    """The base of both kinds of card: frozen, and every unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


_MARKS = {"method": "kind", "domain": "role", "backbone": "stages"}
"""The key by which a card says to which catalog it belongs: one folder may hold all kinds."""

C = TypeVar("C", bound=Card)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Origin:
    """The YAML file of a card, and the package that holds its code; None for a bare folder."""

    path: Path
    package: str | None

    def __str__(self) -> str:
        """The card's path, as error messages name it."""
        return str(self.path)


class Catalog(Generic[C]):
    """All cards of one kind, by name; a card is read when it is first asked for.

    Args:
        kind: the word that messages use, "method" or "domain".
        schema: the card's model.
        folder: the built-in cards.
        package: the package in which the built-in cards' code lies.
        parts: sub-packages of both that hold the cards; empty where they lie in `folder` itself.
        group: the entry-point group by which installed packages announce folders of cards; each
            entry point names a package whose `*.yaml` files are cards.
    """

    def __init__(
        self,
        *,
        kind: str,
        schema: type[C],
        folder: Path,
        package: str,
        group: str,
        parts: Sequence[str] = (),
    ):
        self.kind = kind
        self._schema = schema
        self._builtin = [(folder / part, f"{package}.{part}") for part in parts] or [
            (folder, package)
        ]
        self._group = group
        self._folders: list[Path] = []
        self._origins: dict[str, Origin] | None = None
        self._cards: dict[str, C] = {}
        self._broken: dict[str, str] = {}

    def add_folder(self, folder: Path) -> None:
        """Also looks for cards in `folder` (the command line's `--plugin FOLDER`).

        Raises:
            UserError: if the folder does not exist.
        """
        if not folder.is_dir():
            raise UserError(f"the plug-in folder {folder} does not exist")
        if folder.resolve() not in self._folders:
            self._folders.append(folder.resolve())
            self._origins = None

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._scan())

    def __contains__(self, name: str) -> bool:
        """Whether a card of that name exists."""
        return name in self._scan()

    def canonical(self, name: str) -> str:
        """The name as its card spells it, whatever its case; as it is where nobody knows it.

        Raises:
            UserError: if it is no text.
        """
        refuse_no_text(self.kind, name)
        known = self._scan()
        if name in known:
            return name
        alike = [other for other in known if other.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else name

    def origin(self, name: str) -> Origin:
        """Where the card of that name lies.

        Raises:
            UserError: if nobody knows the name; the nearest names are offered.
        """
        try:
            return self._scan()[name]
        except KeyError:
            error = unknown(self.kind, name, self._scan())
            if self._broken:
                packages = "; ".join(f"{key} ({why})" for key, why in self._broken.items())
                problem = f"{error.problem}; these packages of cards cannot be read: {packages}"
                raise UserError(problem, hint=error.hint) from None
            raise error from None

    def card(self, name: str) -> C:
        """The card of that name.

        Raises:
            UserError: if the name is unknown, or the card does not fit its schema.
        """
        if name not in self._cards:
            self._cards[name] = self._read(self.origin(name))
        return self._cards[name]

    def code(self, name: str, reference: str) -> Any:
        """Imports what a card's `class: module:attribute` names.

        The module lies beside the card; a name with dots is an import name.

        Raises:
            UserError: if the module or the attribute does not exist.
        """
        module_name, _, attribute = reference.partition(":")
        origin = self.origin(name)
        if not module_name or not attribute:
            raise UserError(f"{origin}: 'class: {reference}' is not module:attribute")
        module = _import_beside(origin, module_name, self.kind)
        try:
            return getattr(module, attribute)
        except AttributeError:
            raise UserError(
                f"{origin}: 'class: {reference}' names {attribute}, "
                f"which {module.__file__} does not define"
            ) from None

    def _scan(self) -> dict[str, Origin]:
        if self._origins is None:
            found: dict[str, Origin] = {}
            for origin in self._candidates():
                name = origin.path.stem
                if name in found and found[name].path.resolve() != origin.path.resolve():
                    raise UserError(
                        f"two {self.kind}s are called '{name}': {found[name]} and {origin}",
                        hint="rename one of the two cards",
                    )
                found[name] = origin
            self._origins = found
        return self._origins

    def _candidates(self) -> Iterator[Origin]:
        for folder, package in self._builtin:
            yield from (Origin(path, package) for path in sorted(folder.glob("*.yaml")))
        for point in entry_points(group=self._group):
            yield from self._in(self._places(point.value), point.value)
        yield from self._in(self._folders, None)

    def _places(self, package: str) -> list[Path]:
        # A broken third-party package must not take the built-in methods down with it; `origin`
        # names it once somebody asks for a name that nobody knows.
        try:
            spec = importlib.util.find_spec(package)
        except Exception as error:
            self._broken[package] = str(error) or type(error).__name__
            return []
        if spec is None or spec.submodule_search_locations is None:
            self._broken[package] = "there is no such package"
            return []
        return [Path(place) for place in spec.submodule_search_locations]

    def _in(self, folders: Iterable[Path], package: str | None) -> Iterator[Origin]:
        for folder in folders:
            for path in sorted(folder.glob("*.yaml")):
                if not self._is_of_another_kind(path):
                    yield Origin(path, package)

    def _is_of_another_kind(self, path: Path) -> bool:
        try:
            keys = read_yaml(path).keys()
        except UserError:
            return False  # whoever asks for it by name hears what is wrong
        marked = {kind for kind, mark in _MARKS.items() if mark in keys}
        return bool(marked) and self.kind not in marked

    def _read(self, origin: Origin) -> C:
        values = read_yaml(origin.path)
        stem = origin.path.stem
        if values.get("name", stem) != stem:
            raise UserError(
                f"{origin}: 'name: {values['name']}' is not the file's name",
                hint=f"leave the name out, or rename the file to {values['name']}.yaml",
            )
        return validated(self._schema, {**values, "name": stem}, origin.path)


def validated(schema: type[M], values: Mapping[str, Any], where: object) -> M:
    """`values` as a model of `schema`.

    Raises:
        UserError: naming the file and the first key that is wrong, in one sentence.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = [field.alias or name for name, field in schema.model_fields.items()]
            nearest = unknown("key", str(first["loc"][-1]), known)
            hint = nearest.hint if len(first["loc"]) == 1 else None
            raise UserError(f"{where}: unknown key '{key}'", hint=hint) from error
        said = first["msg"].lower().removeprefix("value error, ")
        raise UserError(f"{where}: '{key}': {said}" if key else f"{where}: {said}") from error


def _import_beside(origin: Origin, module_name: str, kind: str) -> ModuleType:
    if origin.package is not None:
        full = module_name if "." in module_name else f"{origin.package}.{module_name}"
        try:
            return importlib.import_module(full)
        except ModuleNotFoundError as error:
            if error.name == full:
                raise UserError(f"{origin}: there is no module '{module_name}'") from error
            raise
    path = origin.path.parent / f"{module_name}.py"
    if not path.is_file():
        raise UserError(f"{origin}: there is no module {path}")
    # Keyed by the whole path, so that two folders may both hold a `net.py`.
    unique = f"cdfss_bench_{kind}_plugin_{digest(str(path))[:12]}_{module_name}"
    if unique not in sys.modules:
        spec = importlib.util.spec_from_file_location(unique, path)
        if spec is None or spec.loader is None:
            raise UserError(f"{path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[unique]
            raise
    return sys.modules[unique]
