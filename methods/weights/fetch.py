"""Downloading pretrained weights: whole, and the file that the publisher meant, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cdfss_bench.downloads import Unreachable, WrongBytes, download
from cdfss_bench.errors import WeightsError
from cdfss_bench.files import explained_os_errors

from ..backbones.card import BACKBONES, Pretrained, build_backbone


def fetch_pretrained(
    name: str, folder: Path, listener: Callable[[int, int], None] | None = None
) -> Path:
    """Downloads the first published weights of a backbone into `folder`; what is there is kept.

    A file of which no sha256 is published counts if it holds the entries of the backbone.

    Args:
        name: of the backbone.
        folder: created where it is missing.
        listener: is told (bytes here, bytes in all).

    Raises:
        WeightsError: if there is no public address, the network fails, or the hash differs.
        UserError: if the disk is full or the folder may not be written.
    """
    entries = BACKBONES.card(name).pretrained
    entry = next((e for e in entries if e.url), None)
    if entry is None:
        paged = next((e for e in entries if e.page), None)
        raise WeightsError(
            f"the weights of {name} have no public address",
            hint="cdfss-bench weights list says which file to put into the weights folder"
            if paged is None
            else f"put {paged.files[0]} from {paged.page} ({paged.licence}) into {folder}",
        )
    target = folder / entry.url.rpartition("/")[2]
    with explained_os_errors(folder, "creating the weights folder"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return download(
            entry.url,
            target,
            sha256=entry.sha256,
            damage=None if entry.sha256 else lambda path: _misfit(path, name, entry),
            listener=listener,
        )
    except (Unreachable, WrongBytes) as error:
        raise WeightsError(error.problem, hint=error.hint) from error


def _misfit(path: Path, name: str, entry: Pretrained) -> str:
    """Why a file does not hold the weights of backbone `name`; empty if it does."""
    import torch

    from .checkpoints import load_backbone, read_checkpoint

    with torch.random.fork_rng(devices=[]):
        trunk = build_backbone(name)
    try:
        load_backbone(trunk, read_checkpoint(path), entry.renames)
    except WeightsError as error:
        return error.problem
    return ""
