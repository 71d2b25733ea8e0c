"""Source domains: which a training can use, named by their cards."""

import os
from pathlib import Path

from cdfss_bench.datasets import DOMAINS, Domain, open_domain
from cdfss_bench.errors import unknown


def source_names() -> dict[str, str]:
    """What `--source` understands, and the domain behind it: `mini` is `mini-source`.

    Example:
        >>> sorted(source_names().items())[:2]
        [('mini', 'mini-source'), ('pascal', 'pascal')]
    """
    sources = [name for name in DOMAINS.names() if DOMAINS.card(name).role == "source"]
    return {name.removesuffix("-source"): name for name in sources}


def source_of_suite(suite: str) -> str:
    """The name of the source that a suite's methods are trained on.

    Args:
        suite: `mini`, or any other: these are all trained on `cdfss`'s.
    """
    suite = suite if suite == "mini" else "cdfss"
    return next(word for word, name in source_names().items() if DOMAINS.card(name).suite == suite)


def chosen_source(source: str | None, data_root: Path | None) -> str:
    """The source that is meant, where `auto` and None are what is at hand.

    Args:
        source: a name of `source_names`, `auto` or None.
        data_root: where real data lie, beside the environment's `CDFSS_DATA_ROOT`.

    Raises:
        UserError: if no source has this name.
    """
    if source is None or source == "auto":
        return source_of_suite("cdfss" if data_root or "CDFSS_DATA_ROOT" in os.environ else "mini")
    names = source_names()
    if source not in names:
        raise unknown("source", source, tuple(names))
    return source


def open_source(source: str, data_root: Path | None = None, lists: Path | None = None) -> Domain:
    """Open a source domain by its name.

    Args:
        source: a name of `source_names`.
        data_root: the folder of the data sets, which what is drawn does not need.
        lists: the folder of the published lists.

    Raises:
        DataError: if it is not there.
    """
    name = source_names()[source]
    if DOMAINS.card(name).suite == "mini":
        return open_domain(name)
    return open_domain(name, data_root, lists=lists)
