"""The state of an installation, finding by finding."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.datasets.core.decode_cache import default_folder
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.fast.products import onednn_is_taken
from cdfss_bench.methods.weights.search import default_folders, find_pretrained
from cdfss_bench.words import plural

from ..records.environment import cpu_model, packages


class Finding(NamedTuple):
    """One line of the doctor's table.

    Attributes:
        what: was looked at.
        state: `fine`, `absent` (the mini suite works without it), or `broken`.
        detail: what was found.
        hint: what to type.
    """

    what: str
    state: Literal["fine", "absent", "broken"]
    detail: str
    hint: str = ""


def examine(
    data_root: Path | None, lists: Path | None, weights_dirs: Sequence[Path], results: Path
) -> list[Finding]:
    """Everything that a run needs."""
    return [
        *_software(),
        _writable("results folder", results, "--results DIR"),
        _writable("decode cache", default_folder(), "CDFSS_CACHE=DIR"),
        *_data(data_root, lists),
        *_weights([*weights_dirs, *default_folders()]),
    ]


def _software() -> Iterator[Finding]:
    import torch

    versions = ", ".join(f"{name} {number}" for name, number in packages().items())
    yield Finding("packages", "fine", versions)
    threads = torch.get_num_threads()
    counted = f"{threads} {plural(threads, 'thread')}"
    yield Finding("processor", "fine", f"{cpu_model()}, {counted}")
    by = "oneDNN" if onednn_is_taken() else "torch's own product, measured to be faster"
    yield Finding("large products", "fine", by)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("GPU", "fine", ", ".join(names))
    else:
        yield Finding("GPU", "absent", "everything runs on the CPU")


def _writable(what: str, folder: Path, flag: str) -> Finding:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            return Finding(what, "fine", str(folder))
    except OSError as error:
        return Finding(what, "broken", f"{place}: {error.strerror}", f"choose another: {flag}")


def _data(data_root: Path | None, lists: Path | None) -> Iterator[Finding]:
    root = data_root or os.environ.get("CDFSS_DATA_ROOT")
    for name in DOMAINS.names():
        if DOMAINS.card(name).suite != "cdfss":
            continue
        if root is None:
            yield Finding(name, "absent", "no data root is named", "--data-root DIR")
            continue
        report = check_domain(name, Path(root), lists, full=False, hashed=False)
        if report.usable:
            yield Finding(name, "fine", report.profile)
        else:
            first = report.findings[0]
            yield Finding(name, "absent", first.problem.splitlines()[0], first.hint)


def _weights(folders: Sequence[Path]) -> Iterator[Finding]:
    for name in BACKBONES.names():
        found = find_pretrained(name, folders)
        if found is not None:
            yield Finding(f"weights of {name}", "fine", str(found[0]))
            continue
        fetchable = any(entry.url for entry in BACKBONES.card(name).pretrained)
        hint = f"cdfss-bench weights fetch {name}" if fetchable else "cdfss-bench weights list"
        yield Finding(f"weights of {name}", "absent", "", hint)
