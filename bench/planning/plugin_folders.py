"""Plug-in folders: named on the command line, known to every process that computes for it."""

from collections.abc import Sequence
from pathlib import Path


def add_plugins(folders: Sequence[Path] | None) -> None:
    """Adds plug-in folders to all catalogs; a folder's cards say which they belong to.

    Raises:
        UserError: if a folder does not exist.
    """
    from cdfss_bench.datasets import DOMAINS
    from cdfss_bench.methods.backbones.card import BACKBONES
    from cdfss_bench.methods.registry.name_grammar import METHODS

    for folder in folders or ():
        BACKBONES.add_folder(folder)
        METHODS.add_folder(folder)
        DOMAINS.add_folder(folder)
