"""Domains in which something was planted, and subjects that look at them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.bench.diagnose.subject import Subject
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.datasets.core.decode_cache import DecodeCache, Pixels
from cdfss_bench.datasets.core.registry import DOMAINS
from cdfss_bench.datasets.mini.domain import ProceduralDomain
from cdfss_bench.options import Option, Value, resolve

Change = Callable[[NDArray[np.uint8], str], NDArray[np.uint8]]


class Changed(ProceduralDomain):
    """A mini domain whose pictures are changed; `title` tells it from the original."""

    def __init__(self, name: str, title: str, change: Change):
        super().__init__(DOMAINS.card(name), Path(), {}, DecodeCache(None))
        self._title, self._change = title, change

    @property
    def title(self) -> str:
        return self._title

    def read_image(self, path: str) -> Pixels:
        pixels = super().read_image(path)
        return Pixels(self._change(pixels.array, path), pixels.native)


def subject_of(
    method: str,
    folder: Path,
    declared: Mapping[str, Option],
    *domains: Changed | str,
    episodes: int | None = None,
    **options: Value,
) -> Subject:
    """A subject on the mini suite that looks at the given domains."""
    named = [domain for domain in domains if isinstance(domain, str)]
    selection = Selection(
        methods=(method,), suite="mini", domains=tuple(named or ["mini-objects"]), episodes=episodes
    )
    subject = Subject(selection, folder, options=resolve(declared, options, "this kind"))
    opened = {domain.title: domain for domain in subject.targets}
    subject.targets = tuple(opened[d] if isinstance(d, str) else d for d in domains)
    return subject
