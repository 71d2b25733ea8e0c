"""Batches that are ready before they are asked for.

Threads decode (through the decode cache), normalise and, for a GPU, pin; the copy to the device
overlaps with computing. Everything drawn in a step comes from that step's private generator, so
neither the number of threads nor their order changes anything.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from cdfss_bench.canonical import seed_of
from cdfss_bench.datasets import Episode
from cdfss_bench.methods.core.contract import EpisodeBatch

from .distributed import Processes
from .episodes import TrainingEpisodes, training_batch


@dataclass(frozen=True, slots=True)
class Loaded:
    """One step's batch.

    Attributes:
        number: of the step, from 0.
        episodes: of the whole batch.
        batch: this process's share of it.
        draws: state of the step's generator after loading; a second pass begins there again.
    """

    number: int
    episodes: Sequence[Episode]
    batch: EpisodeBatch
    draws: Tensor

    @property
    def rng(self) -> torch.Generator:
        """The step's generator."""
        assert self.batch.rng is not None
        return self.batch.rng


@dataclass(frozen=True, slots=True)
class Loading:
    """What a training's batches are made of.

    Attributes:
        drawn: the episodes.
        batch: episodes per step.
        seed: of the training.
        mirror: whether images are mirrored half of the time.
        boundary: whether undecided pixels are background.
        device: where the tensors shall be.
        workers: threads; 0 loads when asked.
        processes: that share a batch.
    """

    drawn: TrainingEpisodes
    batch: int
    seed: int
    mirror: bool = False
    boundary: bool = False
    device: str = "cpu"
    workers: int = 2
    processes: Processes = field(default_factory=Processes)

    def __len__(self) -> int:
        """Steps in all."""
        return -(-len(self.drawn) // self.batch)

    def steps(self, first: int = 0) -> Iterator[Loaded]:
        """The batches from step `first` on.

        Raises:
            DataError: if a picture is missing or unreadable.
        """
        waiting = enumerate(islice(_chunks(self.drawn, self.batch), first, None), start=first)
        if self.workers == 0:
            yield from (self._on_device(self._load(*one)) for one in waiting)
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="decode") as pool:
            ahead: deque[Future[Loaded]] = deque()
            try:
                for one in waiting:
                    ahead.append(pool.submit(self._load, *one))
                    if len(ahead) > 2 * self.workers:
                        yield self._on_device(ahead.popleft().result())
                while ahead:
                    yield self._on_device(ahead.popleft().result())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, number: int, episodes: Sequence[Episode]) -> Loaded:
        position = self.drawn.stream(number * self.batch)
        rng = torch.Generator().manual_seed(number_of(self.seed, "step", position // self.batch))
        batch = training_batch(
            self.drawn.domain,
            episodes,
            rng=rng,
            mirror=self.mirror,
            boundary=self.boundary,
            share=self.processes.rows,
        )
        if self.device.startswith("cuda"):
            batch = replace(
                batch,
                query_images=batch.query_images.pin_memory(),
                query_masks=batch.query_masks.pin_memory(),
                support_images=batch.support_images.pin_memory(),
                support_masks=batch.support_masks.pin_memory(),
            )
        return Loaded(number, episodes, batch, rng.get_state())

    def _on_device(self, loaded: Loaded) -> Loaded:
        batch = loaded.batch
        moved = replace(
            batch,
            query_images=batch.query_images.to(self.device, non_blocking=True),
            query_masks=batch.query_masks.to(self.device, non_blocking=True),
            support_images=batch.support_images.to(self.device, non_blocking=True),
            support_masks=batch.support_masks.to(self.device, non_blocking=True),
        )
        return replace(loaded, batch=moved)


def number_of(seed: int, *axes: object) -> int:
    """A generator's seed from a training's seed and the names of what it is for."""
    return seed_of("/".join(map(str, ("train", seed, *axes))).encode())


def _chunks(drawn: TrainingEpisodes, size: int) -> Iterator[Sequence[Episode]]:
    episodes = iter(drawn)
    while chunk := list(islice(episodes, size)):
        yield chunk
