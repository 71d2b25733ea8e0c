"""Training episodes: drawn before training begins, from a private generator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cdfss_bench.canonical import digest
from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.transforms import normalised
from cdfss_bench.errors import DataError
from cdfss_bench.methods.contract import EpisodeBatch


@dataclass(frozen=True, slots=True)
class TrainingEpisodes:
    """What a training shows, in order.

    Attributes:
        domain: the source.
        episodes: all of them.
        sha256: of the list.
    """

    domain: Domain
    episodes: Sequence[Episode]
    sha256: str


def draw_training(domain: Domain, *, episodes: int, shots: int, seed: int) -> TrainingEpisodes:
    """Epoch after epoch, every (class, image) pair once as query; supports are distinct.

    Args:
        domain: the source.
        episodes: in all.
        shots: supports per episode.
        seed: of the private generator.

    Raises:
        DataError: if no class has shots + 1 images.
    """
    pools = {p.class_id: p.images for p in domain.pools if len(p.images) > shots}
    if not pools:
        raise DataError(
            f"no class of {domain.title} has the {shots + 1} images that training needs"
        )
    pairs = [(class_id, name) for class_id, names in pools.items() for name in names]
    text = f"training/{domain.title}/{seed}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))
    drawn: list[Episode] = []
    while len(drawn) < episodes:
        for index in rng.permutation(len(pairs)):
            class_id, query = pairs[int(index)]
            names = pools[class_id]
            order = rng.permutation(len(names))[: shots + 1]
            supports = [names[int(i)] for i in order if names[int(i)] != query][:shots]
            drawn.append(Episode(query, tuple(supports), class_id))
    chosen = drawn[:episodes]
    rows = [[e.query, list(e.supports), e.class_id] for e in chosen]
    return TrainingEpisodes(domain, chosen, digest(rows))


def training_batch(
    domain: Domain,
    episodes: Sequence[Episode],
    *,
    device: str,
    rng: torch.Generator,
    mirror: bool = False,
) -> EpisodeBatch:
    """The tensors of some training episodes; undecided pixels are 255, other classes 0.

    Args:
        domain: the source.
        episodes: of one batch.
        device: where the tensors shall be.
        rng: the step's generator, handed on to methods that draw.
        mirror: whether each image is mirrored half of the time.
    """

    def picture(class_id: int, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        item = domain.item(class_id, name)
        image, mask = domain.image(item), np.array(domain.truth(item))
        void = domain.undecided(item)
        if void is not None:
            mask[void.astype(bool)] = 255
        if mirror and bool(torch.rand((), generator=rng) < 0.5):
            image, mask = image[:, ::-1], mask[:, ::-1]
        return image, mask

    queries = [picture(e.class_id, e.query) for e in episodes]
    supports = [[picture(e.class_id, name) for name in e.supports] for e in episodes]
    return EpisodeBatch(
        query_images=normalised(np.stack([i for i, _ in queries])).to(device),
        query_masks=torch.from_numpy(np.stack([m for _, m in queries])).to(device),
        support_images=normalised(np.stack([[i for i, _ in s] for s in supports])).to(device),
        support_masks=torch.from_numpy(np.stack([[m for _, m in s] for s in supports])).to(device),
        rng=rng,
    )
