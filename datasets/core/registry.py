"""From a name to an open domain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cdfss_bench.cards import Catalog
from cdfss_bench.errors import DataError, unknown
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
            of a plug-in.
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
    name = DOMAINS.canonical(name)
    card = DOMAINS.card(name)
    resolved = resolve(card.options, {**(options or {}), **more}, name)
    folder = default_folder() if cache == "auto" else None if cache is None else Path(cache)
    place = root or os.environ.get("CDFSS_DATA_ROOT")
    where = Path(place or ".")
    if card.suite != "mini":
        if not place:
            raise DataError(
                f"{card.title} needs a data root",
                hint="name it with --data-root DIR or CDFSS_DATA_ROOT, or use --suite mini",
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
    return reader(card, where, resolved, DecodeCache(folder), Path(named) if named else None)


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
