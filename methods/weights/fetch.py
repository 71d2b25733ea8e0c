"""Downloading pretrained weights: whole, and the file that the publisher meant, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cdfss_bench.downloads import Unreachable, WrongBytes, download
from cdfss_bench.errors import WeightsError
from cdfss_bench.files import explained_os_errors

from ..backbones.card import BACKBONES


def fetch_pretrained(
    name: str, folder: Path, listener: Callable[[int, int], None] | None = None
) -> Path:
    """Downloads the first published weights of a backbone into `folder`; what is there is kept.

    Args:
        name: of the backbone.
        folder: created where it is missing.
        listener: is told (bytes here, bytes in all).

    Raises:
        WeightsError: if there is no public address, the network fails, or the hash differs.
        UserError: if the disk is full or the folder may not be written.
    """
    entry = next((e for e in BACKBONES.card(name).pretrained if e.url), None)
    if entry is None:
        raise WeightsError(
            f"the weights of {name} have no public address",
            hint="cdfss-bench weights list says which file to put into the weights folder",
        )
    target = folder / entry.url.rpartition("/")[2]
    with explained_os_errors(folder, "creating the weights folder"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return download(entry.url, target, sha256=entry.sha256, listener=listener)
    except (Unreachable, WrongBytes) as error:
        raise WeightsError(error.problem, hint=error.hint) from error
