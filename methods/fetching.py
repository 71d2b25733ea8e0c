"""Downloading pretrained weights: whole, and the file that the publisher meant, or nothing."""

from __future__ import annotations

import http.client
import urllib.error
from pathlib import Path

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import WeightsError
from cdfss_bench.files import explained_os_errors

from .backbones.card import BACKBONES


def fetch_pretrained(name: str, folder: Path) -> Path:
    """Downloads the first published weights of a backbone into `folder`; what is there is kept.

    Raises:
        WeightsError: if there is no public address, the network fails, or the hash differs.
        UserError: if the disk is full or the folder may not be written.
    """
    from torch.hub import download_url_to_file

    entry = next((e for e in BACKBONES.card(name).pretrained if e.url), None)
    if entry is None:
        raise WeightsError(
            f"the weights of {name} have no public address",
            mend="cdfss-bench weights list says which file to put into the weights folder",
        )
    target = folder / entry.url.rpartition("/")[2]
    if target.is_file() and file_sha256(target).startswith(entry.sha256):
        return target
    with explained_os_errors(folder, "creating the weights folder"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with explained_os_errors(target, "downloading weights"):
            download_url_to_file(entry.url, str(target), hash_prefix=entry.sha256, progress=True)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        raise WeightsError(
            f"{entry.url} could not be downloaded ({error})",
            mend=f"download it elsewhere and put it into {folder}",
        ) from error
    except RuntimeError as error:
        raise WeightsError(
            f"what {entry.url} sent is not the published file: {error}", mend="try again later"
        ) from error
    return target
