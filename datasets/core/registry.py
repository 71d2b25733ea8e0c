"""From a name to an open domain."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from cdfss_bench.cards import Catalog
from cdfss_bench.errors import DataError, refuse_no_text, unknown
from cdfss_bench.options import Value, resolve, split_options

from .card import DomainCard
from .decode_cache import DecodeCache, default_folder
from .domain import Domain

DOMAINS: Catalog[DomainCard] = Catalog(
    kind="domain",
    schema=DomainCard,
    folder=Path(__file__).parents[1],
    package="cdfss_bench.datasets",
    parts=("domains", "mini"),
    group="cdfss_bench.domains",
)
"""All domain cards; `--plugin FOLDER` adds to it."""


def open_domain(
    name: str,
    root: str | Path | None = None,
    options: Mapping[str, Value] | None = None,
    *,
    lists: str | Path | None = None,
    cache: str | Path | None = "auto",
    **more: Value,
) -> Domain:
    """Opens a domain by name; its files are looked at when first needed.

    Args:
        name: `fss1000`, `deepglobe`, `isic`, `chestxray`, `pascal`, a `mini-...` domain, or one
            of a plug-in; options may stand in brackets, `pascal[fold=0]`.
        root: the data root; by default `$CDFSS_DATA_ROOT`. The mini suite needs none.
        lists: folder of the PASCAL fold lists and ISIC's class table; default `$CDFSS_LISTS`.
        cache: folder of decoded pictures, None for no cache.
        options: of the card.
        **more: options too, for typing (`split="val"`, `fold=0`, `hospitals="both"`).

    Raises:
        UserError: for an unknown name, a bad option, or a root that is not there.

    Example:
        >>> from cdfss_bench import open_domain
        >>> domain = open_domain("mini-lesion", cache=None)
        >>> episode = domain.episodes(shots=5, seed=0).episodes[0]
        >>> len(episode.supports)
        5
        >>> domain.load(episode).query_image.shape
        torch.Size([3, 128, 128])
    """
    refuse_no_text("domain", name)
    name, typed = split_name(name)
    given = {**typed, **(options or {}), **more}
    if len(given) < len(typed) + len(options or {}) + len(more):
        raise DataError(f"an option of {name} is set twice", hint="set it once")
    card = DOMAINS.card(name)
    resolved = resolve(card.options, given, name)
    for path in (root, lists):
        _refuse_no_path(path)
    folder = default_folder() if cache == "auto" else None if cache is None else Path(cache)
    place = root or os.environ.get("CDFSS_DATA_ROOT")
    _refuse_taken(resolved)
    absolute = _absolute(card, resolved)
    if absolute is not None:
        # The same as naming its parent by the data root: what is compared knows no such paths.
        place = absolute.parent
        resolved[card.located_by] = absolute.name
    where = Path(place or ".")
    if card.suite != "mini":
        if not place:
            raise DataError(
                f"{card.title} needs a data root",
                hint="name it with --data-root DIR or CDFSS_DATA_ROOT, or use --suite mini"
                if card.located_by not in card.options
                else "name it with --data-root DIR or CDFSS_DATA_ROOT, or give an absolute "
                f"path: {name}[{card.located_by}=/...]",
            )
        if not where.is_dir():
            raise DataError(
                f"the data root {where} does not exist or is not a folder",
                hint="name another with --data-root DIR or CDFSS_DATA_ROOT",
            )
    named = lists or os.environ.get("CDFSS_LISTS")
    if named and not Path(named).is_dir():
        raise DataError(
            f"the lists folder {named} does not exist or is not a folder",
            hint="name another with --lists DIR or CDFSS_LISTS",
        )
    reader: type[Domain] = DOMAINS.code(name, card.code)
    domain = reader(card, where, resolved, DecodeCache(folder), Path(named) if named else None)
    domain.absolute = {} if absolute is None else {card.located_by: str(absolute)}
    return domain


def _refuse_no_path(given: object) -> None:
    if given is not None and not isinstance(given, str | os.PathLike):
        raise DataError(f"{given!r} is no path of a folder", hint="give a text or a Path")


def _absolute(card: DomainCard, options: Mapping[str, Value]) -> Path | None:
    """The absolute path that `card.located_by` was given, if it was."""
    named = options.get(card.located_by)
    path = Path(str(named or "")).expanduser()
    if not path.is_absolute():
        return None
    if not path.name:
        raise DataError(f"{path} is no folder of a data set", hint="name a folder below it")
    return path


def _refuse_taken(options: Mapping[str, Value]) -> None:
    """Refuses a `name=` that tables could not show, or that means another column of theirs."""
    name = str(options.get("name", ""))
    if name and not re.fullmatch(r"\w[\w .+-]*", name):
        raise DataError(
            f"name={name} is no name of a column",
            hint="use letters, digits, spaces, dots, + and -, beginning with a letter or digit",
        )
    if name and (DOMAINS.canonical(name) in DOMAINS or name.lower() == "mean"):
        raise DataError(
            f"name={name} is what tables call something else",
            hint=f"choose another, such as name=my-{name}",
        )


def split_name(typed: str) -> tuple[str, dict[str, Value]]:
    """`pascal[fold=0,split=val]` as name and options.

    Raises:
        UserError: if it is not spelled so, or names no domain.
    """
    name, options = split_options(typed, typed)
    name = DOMAINS.canonical(name)
    if name not in DOMAINS:
        raise unknown("domain", name, DOMAINS.names())
    return name, options
