"""Training episodes of the source: what is drawn, what is held out, what must be right before."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import torch
from numpy.typing import NDArray

from cdfss_bench.canonical import canonical_json
from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.core.samplers import is_held_out
from cdfss_bench.datasets.core.transforms import normalised
from cdfss_bench.errors import DataError
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.registry.card import Bug

_LOOKED_AT = 32
"""Pairs that `check_source` opens: enough to notice masks of another kind."""

Picture = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class TrainingEpisodes:
    """What a training shows, in order, from a private generator.

    Epoch after epoch, every (class, image) pair once as query; supports are distinct. Epochs are
    drawn as they are needed: HSNet's published training is 27 million episodes long.

    Args:
        domain: the source.
        episodes: in all.
        shots: supports per episode.
        seed: of the private generator.
        hold_out: share of the images that are never shown (see `validation_episodes`).
        bugs: of the published code; the two that repeat an epoch matter here.

    Raises:
        DataError: if no class has shots + 1 images.

    Attributes:
        per_epoch: episodes in which every pair is the query once.
        sha256: of the canonical JSON of the whole list; empty until the last one was drawn.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        episodes: int,
        shots: int,
        seed: int,
        hold_out: float = 0.0,
        bugs: Sequence[Bug] = (),
    ):
        self.domain = domain
        self.sha256 = ""
        self._count, self._shots, self._seed = episodes, shots, seed
        self._bugs = bugs
        shown = _pools(domain, lambda name: not is_held_out(name, hold_out))
        self._pools = {c: names for c, names in shown.items() if len(names) > shots}
        if not self._pools:
            raise DataError(
                f"no class of {domain.title} has the {shots + 1} images that training needs"
            )
        self.per_epoch = sum(map(len, self._pools.values()))

    def __len__(self) -> int:
        """How many there are in all."""
        return self._count

    def __iter__(self) -> Iterator[Episode]:
        """Every episode from the first on; always the same ones."""
        hashed = hashlib.sha256(b"[")
        for number, episode in enumerate(chain.from_iterable(self._epochs()), start=1):
            row = canonical_json([episode.query, list(episode.supports), episode.class_id])
            hashed.update((row + ("]" if number == self._count else ",")).encode())
            if number == self._count:
                self.sha256 = hashed.hexdigest()
            yield episode
            if number == self._count:
                return

    def stream(self, position: int) -> int:
        """Which private stream the step that begins at episode `position` draws from.

        Streams are numbered by position; where the published code repeats an epoch, it repeats
        what was drawn in it.
        """
        if "epochs-repeat" in self._bugs:
            return position % self.per_epoch
        if "epochs-repeat-from-second" in self._bugs and position >= self.per_epoch:
            return self.per_epoch + position % self.per_epoch
        return position

    def _epochs(self) -> Iterator[list[Episode]]:
        text = f"training/{self.domain.title}/{self._seed}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))
        pairs = [(class_id, name) for class_id, names in self._pools.items() for name in names]
        if "epochs-repeat" in self._bugs:
            yield from repeat(self._epoch(pairs, rng))
        if "epochs-repeat-from-second" in self._bugs:
            yield self._epoch(pairs, rng)
            yield from repeat(self._epoch(pairs, rng))
        while True:
            yield self._epoch(pairs, rng)

    def _epoch(self, pairs: Sequence[tuple[int, str]], rng: np.random.Generator) -> list[Episode]:
        drawn: list[Episode] = []
        for index in rng.permutation(len(pairs)):
            class_id, query = pairs[int(index)]
            names = self._pools[class_id]
            order = rng.permutation(len(names))[: self._shots + 1]
            supports = [names[int(i)] for i in order if names[int(i)] != query][: self._shots]
            drawn.append(Episode(query, tuple(supports), class_id))
        return drawn


def validation_episodes(
    domain: Domain, *, hold_out: float, shots: int, count: int
) -> list[Episode]:
    """Episodes of held-out source images only: classes in turn, distinct supports.

    They are the same for every training with that share, so that seeds can be compared.

    Raises:
        DataError: if no class has shots + 1 images among those held out.
    """
    held = _pools(domain, lambda name: is_held_out(name, hold_out))
    pools = [(c, names) for c, names in held.items() if len(names) > shots]
    if not pools:
        raise DataError(
            f"no class of {domain.title} has {shots + 1} images among the {hold_out:.0%} held out",
            hint="hold out more with --hold-out 0.2, or select the last weights (--select last)",
        )
    text = f"validation/{domain.title}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))
    drawn: list[Episode] = []
    for index in range(count):
        class_id, names = pools[index % len(pools)]
        query, *supports = (names[int(i)] for i in rng.permutation(len(names))[: shots + 1])
        drawn.append(Episode(query, tuple(supports), class_id))
    return drawn


def check_source(domain: Domain) -> None:
    """Opens some pairs before hours are spent on masks that hold nothing.

    Raises:
        DataError: if a class is none of the card's, a mask holds labels of no class, or no mask
            holds the class it is listed under.
    """
    known = domain.card.classes
    for entry in domain.classes:
        if entry.name not in known:
            raise DataError(
                f"{domain.title} holds a class '{entry.name}' that its card does not list",
                hint="train on the published lists (--lists DIR), or correct the domain's card",
            )
    pairs = [(entry.id, item) for entry in domain.classes for item in entry.items]
    chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, _LOOKED_AT).round().astype(int)]
    labels = {item.label for _, item in pairs if item.label is not None}
    legal = labels | set(range(len(known) + 1)) | {domain.void_label}
    empty = 0
    for _, item in chosen:
        if item.label is not None:
            strange = set(np.unique(domain.read_labels(item).array).tolist()) - legal
            if strange:
                raise DataError(
                    f"the mask {item.mask} holds label {min(strange)}, which is none of the "
                    f"{len(known)} classes of {domain.title}",
                    hint="use the label maps of VOC and SBD (SegmentationClassAug)",
                )
        empty += not domain.truth(item).any()
    if empty == len(chosen):
        raise DataError(
            f"no mask of {domain.title} that was looked at holds the class it is listed under",
            hint="use the label maps of VOC and SBD (SegmentationClassAug), not pictures of them",
        )


def training_batch(
    domain: Domain,
    episodes: Sequence[Episode],
    *,
    rng: torch.Generator,
    mirror: bool = False,
    boundary: bool = False,
    share: Callable[[Sequence[int]], Sequence[int]] = lambda rows: rows,
) -> EpisodeBatch:
    """The tensors of some training episodes; undecided pixels are 255, other classes 0.

    Args:
        domain: the source.
        episodes: of one batch.
        rng: the step's generator, handed on to methods that draw.
        mirror: whether each image is mirrored half of the time.
        boundary: whether undecided pixels are background, as much published code has it.
        share: the rows that this process computes; draws are made for all of them, so that every
            process goes on from the same state.
    """

    def flips(names: Sequence[str]) -> list[bool]:
        return [mirror and bool(torch.rand((), generator=rng) < 0.5) for _ in names]

    def picture(class_id: int, name: str, flip: bool) -> Picture:  # noqa: FBT001
        item = domain.item(class_id, name)
        image, mask = domain.image(item), np.array(domain.truth(item))
        void = None if boundary else domain.undecided(item)
        if void is not None:
            mask[void.astype(bool)] = 255
        return (image[:, ::-1], mask[:, ::-1]) if flip else (image, mask)

    query_flips = flips([e.query for e in episodes])
    support_flips = [flips(e.supports) for e in episodes]
    rows = [(episodes[i], query_flips[i], support_flips[i]) for i in share(range(len(episodes)))]
    queries = [picture(e.class_id, e.query, flip) for e, flip, _ in rows]
    supports = [
        [picture(e.class_id, name, flip) for name, flip in zip(e.supports, each, strict=True)]
        for e, _, each in rows
    ]
    return EpisodeBatch(
        query_images=normalised(np.stack([i for i, _ in queries])),
        query_masks=torch.from_numpy(np.stack([m for _, m in queries])),
        support_images=normalised(np.stack([[i for i, _ in s] for s in supports])),
        support_masks=torch.from_numpy(np.stack([[m for _, m in s] for s in supports])),
        rng=rng,
    )


def _pools(domain: Domain, wanted: Callable[[str], bool]) -> dict[int, list[str]]:
    return {p.class_id: [name for name in p.images if wanted(name)] for p in domain.pools}
