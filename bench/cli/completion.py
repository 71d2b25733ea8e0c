"""What the shell offers after TAB: names that can run here, else all that begin so.

`cdfss-bench --install-completion` sets it up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cdfss_bench.methods.registry.name_grammar import Composition

Typed = Callable[[str], Any]
"""The value of another option of the line, by the name of its parameter; None if it lacks."""


def _completing(
    find: Callable[[Typed, str], Iterable[str]],
) -> Callable[[typer.Context, str], list[str]]:
    """A function of the shape that typer asks: a mistake in the line offers nothing."""

    @functools.wraps(find)
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from cdfss_bench.errors import UserError

        from ..planning.plugin_folders import add_plugins

        found: dict[str, None] = {}
        with suppress(UserError, OSError):
            add_plugins(context.params.get("plugins"))
            for name in find(context.params.get, incomplete):
                found[name] = None
        return list(found)

    # typer reads the parameters' kinds from these, and would follow `find` instead.
    del complete.__wrapped__  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess]
    complete.__annotations__ = {"context": typer.Context, "incomplete": str}
    return complete


def words_of(*words: str) -> Callable[[typer.Context, str], list[str]]:
    """Offers the words that an option knows."""

    def find(typed: Typed, incomplete: str) -> list[str]:
        del typed
        return [word for word in words if word.startswith(incomplete)]

    return _completing(find)


def _folders(typed: Typed) -> list[Path]:
    from cdfss_bench.methods.weights.search import default_folders

    return [*map(Path, typed("weights_dirs") or ()), *default_folders()]


def _preferred(names: Sequence[str], can_run: Callable[[str], bool]) -> list[str]:
    return [name for name in names if can_run(name)] or list(names)


@_completing
def complete_methods(typed: Typed, incomplete: str) -> list[str]:
    """Names of methods for which weights are here; behind a `+` the plug-ins that fit."""
    from cdfss_bench.errors import UserError
    from cdfss_bench.methods.registry.name_grammar import METHODS, parse
    from cdfss_bench.methods.weights.resolve import runs_on

    begun, plus, rest = incomplete.rpartition("+")
    names = [name for name in METHODS.names() if name.startswith(rest)]
    if plus:
        found: list[str] = []
        for name in names:
            if METHODS.card(name).kind == "plugin":
                with suppress(UserError):
                    parse(f"{begun}+{name}")
                    found.append(f"{begun}+{name}")
        return found
    folders = _folders(typed)

    def can_run(name: str) -> bool:
        return METHODS.card(name).kind == "control" or bool(runs_on(name, folders))

    return _preferred(names, can_run)


@_completing
def complete_known_methods(typed: Typed, incomplete: str) -> list[str]:
    """Names of all methods."""
    from cdfss_bench.methods.registry.name_grammar import METHODS

    return [name for name in METHODS.names() if name.startswith(incomplete)]


@_completing
def complete_domains(typed: Typed, incomplete: str) -> list[str]:
    """Names of domains whose data are here."""
    from cdfss_bench.datasets import DOMAINS, open_domain
    from cdfss_bench.errors import UserError

    def is_here(name: str) -> bool:
        try:
            root, lists = typed("data_root"), typed("lists")
            return bool(open_domain(name, root, lists=lists, cache=None).classes)
        except (UserError, OSError):
            return False

    return _preferred([name for name in DOMAINS.names() if name.startswith(incomplete)], is_here)


@_completing
def complete_known_domains(typed: Typed, incomplete: str) -> list[str]:
    """Names of all domains."""
    from cdfss_bench.datasets import DOMAINS

    return [name for name in DOMAINS.names() if name.startswith(incomplete)]


@_completing
def complete_backbones(typed: Typed, incomplete: str) -> list[str]:
    """Names of backbones for which weights of the methods typed before are here."""
    from cdfss_bench.errors import UserError
    from cdfss_bench.methods.backbones.card import BACKBONES
    from cdfss_bench.methods.weights.resolve import resolve_weights
    from cdfss_bench.methods.weights.search import find_pretrained

    methods, folders = _compositions(typed), _folders(typed)

    def is_here(name: str) -> bool:
        if not methods:
            return find_pretrained(name, folders) is not None
        try:
            for method in methods:
                resolve_weights(method.in_miniature(), backbone=name, folders=folders)
        except UserError:
            return False
        return True

    return _preferred([n for n in BACKBONES.names() if n.startswith(incomplete)], is_here)


@_completing
def complete_known_backbones(typed: Typed, incomplete: str) -> list[str]:
    """Names of all backbones."""
    from cdfss_bench.methods.backbones.card import BACKBONES

    return [name for name in BACKBONES.names() if name.startswith(incomplete)]


@_completing
def complete_weights(typed: Typed, incomplete: str) -> Iterator[str]:
    """Trained weights files that are here, for the methods that were typed before."""
    from cdfss_bench.methods.weights.search import trained_in, trained_name

    wanted = {
        trained_name(each)
        for method in _compositions(typed)
        for each in (method, method.in_miniature())
    }
    owner, equals, begun = incomplete.rpartition("=")
    for path, card in trained_in(_folders(typed)):
        if str(path).startswith(begun) and (not wanted or card.trained_as in wanted):
            yield f"{owner}{equals}{path}"


@_completing
def complete_runs(typed: Typed, incomplete: str) -> list[str]:
    """Methods that have records; of those with several versions, NAME:HASH too."""
    from ..comparison.keys import version_of
    from ..records.schema import read_runs

    versions: dict[str, dict[str, None]] = {}
    for _, record in read_runs(typed("results") or "results", lambda _: None):
        versions.setdefault(record.method.label, {})[version_of(record)] = None
    names = [
        name
        for label, known in sorted(versions.items())
        for name in (label, *(f"{label}:{each}" for each in known if len(known) > 1))
    ]
    return [name for name in names if name.startswith(incomplete)]


@_completing
def complete_run_folders(typed: Typed, incomplete: str) -> list[str]:
    """Folders of recorded cells."""
    from ..records.schema import record_paths

    folders = [str(path.parent) for path in record_paths(Path(typed("results") or "results"))]
    return [folder for folder in folders if folder.startswith(incomplete)]


def _compositions(typed: Typed) -> list[Composition]:
    from cdfss_bench.errors import UserError
    from cdfss_bench.methods.registry.name_grammar import parse

    named: str | Sequence[str] = typed("methods") or typed("method") or ()
    found: list[Composition] = []
    for name in [named] if isinstance(named, str) else named:
        with suppress(UserError):
            found.append(parse(name))
    return found
