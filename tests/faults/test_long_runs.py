"""A night's run holds as much memory and as many files at its end as at its beginning."""

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cdfss_bench.bench.evaluation.runner import Progress, Runner
from cdfss_bench.bench.planning.cell import Cell
from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.bench.planning.planned_cells import Planned
from cdfss_bench.canonical import digest
from cdfss_bench.datasets import Domain
from cdfss_bench.datasets.core.card import DomainCard
from cdfss_bench.datasets.core.decode_cache import DecodeCache, Pixels
from cdfss_bench.datasets.core.domain import DomainClass, Item
from cdfss_bench.methods.registry.name_grammar import parse
from cdfss_bench.methods.weights.resolve import resolve_weights

from ..bench.conftest import seeded_weights as seeded_weights

SIDE, IMAGES = 32, 60
BYTES_PER_EPISODE = 1024
"""What a finished episode may leave in memory: its counts, until the metrics are computed."""


class Tiny(Domain):
    """Noise of 32 pixels a side; the files are the names."""

    def discover(self) -> Sequence[DomainClass]:
        return [
            DomainClass(c, f"class {c}", tuple(self.made(c, i) for i in range(IMAGES)))
            for c in range(2)
        ]

    def made(self, class_id: int, index: int) -> Item:
        name = f"{class_id}-{index}"
        return Item(name, f"{name}.png", f"{name}-mask.png")

    def read_image(self, path: str) -> Pixels:
        rng = np.random.RandomState(sum(path.encode()))
        return Pixels(rng.randint(0, 256, (SIDE, SIDE, 3)).astype(np.uint8), (SIDE, SIDE))

    def read_labels(self, item: Item) -> Pixels:
        rng = np.random.RandomState(sum(item.mask.encode()))
        return Pixels((rng.uniform(size=(SIDE, SIDE)) < 0.5).astype(np.uint8), (SIDE, SIDE))

    def content_hash(self, *, again: bool = False) -> str:
        del again
        return digest([self.title, SIDE])


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("episodes", [800, pytest.param(20_000, marks=pytest.mark.long)])
def test_memory_and_files_stay_flat(
    episodes: int, seeded_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = DomainCard.model_validate(
        {
            "name": "tiny", "title": "Tiny", "class": "tiny:Tiny", "role": "target",
            "suite": "mini", "summary": "noise", "layout": "none", "licence": "none",
            "sampling": "cycle", "classes": ["class 0", "class 1"], "length": episodes,
            "image_size": SIDE,
        }
    )  # fmt: skip
    domain = Tiny(card, tmp_path, {}, DecodeCache(None))
    composition = parse("prototype")
    weights = resolve_weights(composition, backbone="resnet-mini", folders=[seeded_weights])
    episode_set = EpisodeSet(domain, 2, 0, "patnet")
    planned = Planned(composition, episode_set)
    planned.cell = Cell(composition, weights, episode_set)
    looks: list[tuple[int, int, int]] = []

    def listen(progress: Progress) -> None:
        if progress.done % (episodes // 8) == 0:
            gc.collect()
            looks.append((progress.done, resident(), len(list(Path("/proc/self/fd").iterdir()))))

    (outcome,) = Runner(tmp_path / "results", listener=listen, with_cost=False).run([planned])
    assert outcome.how == "computed", outcome.detail
    # Until all pictures were seen once, the store of features grows; that is what it is for.
    begun, ended = looks[2], looks[-1]
    assert ended[0] == episodes
    growth = (ended[1] - begun[1]) / (ended[0] - begun[0])
    with capsys.disabled():
        if episodes > 10_000:
            print("\nepisodes, MiB, files:", *((n, b >> 20, f) for n, b, f in looks))  # noqa: T201
    assert growth < BYTES_PER_EPISODE + (4 << 20) / (ended[0] - begun[0])
    assert ended[2] == begun[2]
