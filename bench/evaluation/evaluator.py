"""The one evaluator: every method, every domain, every protocol goes through here.

Structure gives the speed: each image is encoded once and kept, so is each support with its mask, a
query is matched once with a support whose shots vote, episodes are matched in batches. The method
is handed images and support masks; the query's mask stays here, where the counting is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.core.domain import Item
from cdfss_bench.datasets.core.transforms import normalised
from cdfss_bench.methods.core.contract import SupportState
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.transfer import onto

from ..records.boundary import Boundary
from ..records.cell_folder import EpisodeRow
from ..runtime.accelerator import accelerator
from ..runtime.memory import backing_off
from ..runtime.precision import exact_fp32
from .boundary import boundary_measures
from .episode_order import reuse_order
from .feature_cache import DEFAULT_BUDGET, FeatureStores
from .feature_files import DEFAULT_SIZE, FeatureFiles
from .pixel_counts import NotBinaryError, count
from .prediction import adaptation_stream, predict_episode


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compute, none of which may change a number.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1`.
        batch: episodes matched together on an accelerator; 0 chooses by the size of the images.
            A CPU takes them one by one: it gains nothing from batches, and a killed run then
            loses the one episode in flight.
        encode_batch: images encoded together; 0 chooses, 4 on a CPU and 32 on an accelerator.
        budget: bytes of features and of support states that are kept.
        workers: threads that decode ahead.
        boundary: tolerance of NSD in pixels, if boundary measures are wanted beside the counts.
        feature_cache: folder of encoder outputs that outlive the run; None for none.
        feature_cache_size: bytes that it may hold.
    """

    device: str = "cpu"
    batch: int = 0
    encode_batch: int = 0
    budget: int = DEFAULT_BUDGET
    workers: int = 2
    boundary: float | None = None
    feature_cache: Path | None = None
    feature_cache_size: int = DEFAULT_SIZE

    def episodes_per_batch(self, image_size: int) -> int:
        """One on a CPU; else `batch`, or 16 at 400 px and more of smaller images."""
        if self.device == "cpu":
            return 1
        return self.batch or max(1, min(64, 16 * 400**2 // image_size**2))

    @property
    def images_per_batch(self) -> int:
        """Images encoded together."""
        return self.encode_batch or (4 if self.device == "cpu" else 32)


@dataclass(slots=True)
class BatchTiming:
    """Milliseconds spent on one batch of episodes.

    Attributes:
        episodes: indices in the manifest.
        load: waiting for decoded pictures.
        encode: the backbone, for images not seen before.
        encoded: how many those were.
        adapt: learning from the supports.
        match: encoding supports with their masks, matching, deciding.
    """

    episodes: list[int]
    load: float = 0.0
    encode: float = 0.0
    encoded: int = 0
    adapt: float = 0.0
    match: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For `timings.jsonl`."""
        return {
            "episodes": self.episodes,
            "load_ms": round(self.load, 3),
            "encode_ms": round(self.encode, 3),
            "encoded": self.encoded,
            "adapt_ms": round(self.adapt, 3),
            "match_ms": round(self.match, 3),
        }


def evaluate(
    method: Method,
    domain: Domain,
    episodes: Sequence[Episode],
    *,
    seed: int = 0,
    skip: frozenset[int] | set[int] = frozenset(),
    settings: Settings | None = None,
    stores: FeatureStores | None = None,
    keep: Callable[[Sequence[int], NDArray[np.uint8]], None] | None = None,
) -> Iterator[tuple[list[EpisodeRow], BatchTiming]]:
    """Rows of finished episodes, batch by batch, in the order of `schedule.reuse_order`.

    Args:
        method: in eval mode, weights loaded.
        domain: where the pictures are.
        episodes: of a manifest, in its order.
        seed: with an episode's names it seeds what an adapting method draws.
        skip: indices that are already known.
        settings: how to compute.
        stores: kept between calls by a caller who evaluates the same network on the same domain
            again (other shots or seeds).
        keep: is handed the indices and the masks, uint8 [B, S, S], of every finished batch before
            its rows are yielded.

    Raises:
        DataError: if a picture is missing or unreadable.
        ValueError: if the method returns NaN, infinite scores, or anything but 0/1 masks of the
            image's size.
        UserError: if not even one episode fits into the device's memory.

    Example:
        >>> from cdfss_bench import build, evaluate, open_domain
        >>> method = build("prototype", backbone="resnet-mini")
        >>> domain = open_domain("mini-lesion", cache=None)
        >>> episodes = domain.episodes(shots=1, length=2).episodes
        >>> rows = [row for batch, _ in evaluate(method, domain, episodes) for row in batch]
        >>> sorted(row.index for row in rows)
        [0, 1]
        >>> all(row.counts.inter <= row.counts.union for row in rows)
        True
    """
    exact_fp32()
    settings = settings or Settings()
    stores = stores or FeatureStores(settings.budget)
    method = method.to(settings.device).eval().optimized_for(settings.device)
    adapts = method.adaptation != "none"
    run = _Run(method, domain, settings, stores)
    order = reuse_order([run.images_of(episode) for episode in episodes])
    waiting = [index for index in order if index not in skip]
    size = 1 if adapts else settings.episodes_per_batch(domain.card.image_size)
    batches = [waiting[i : i + size] for i in range(0, len(waiting), size)]
    with ThreadPoolExecutor(settings.workers) as pool:
        for number, indices in enumerate(batches):
            for ahead in batches[number + 1 : number + 3]:
                run.prefetch([episodes[i] for i in ahead], pool)
            timing = BatchTiming(indices)
            batch = [episodes[i] for i in indices]

            def masks_of(part: Sequence[Episode], timing: BatchTiming = timing) -> Tensor:
                if adapts:
                    return run.adapted(part[0], adaptation_stream(seed, part[0]), timing)
                return run.matched(part, timing)

            masks = backing_off(masks_of, batch, run.forget)
            truth, ignore = run.truths(batch)
            try:
                counts = count(_checked(masks, truth, method), truth, ignore)
            except NotBinaryError as error:
                raise _explained(error, batch, method) from None
            run.clock.read()
            if keep is not None:
                keep(indices, masks.cpu().numpy())
            rows = [
                EpisodeRow(index, episode, counted)
                for index, episode, counted in zip(indices, batch, counts, strict=True)
            ]
            if settings.boundary is not None:
                found = _boundaries(masks, truth, ignore, settings.boundary)
                rows = [replace(row, boundary=one) for row, one in zip(rows, found, strict=True)]
            yield rows, timing


class _Run:
    """The state of one evaluation: pictures on their way, features at hand."""

    def __init__(self, method: Method, domain: Domain, settings: Settings, stores: FeatureStores):
        self.method = method
        self.domain = domain
        self.settings = settings
        self.stores = stores
        self.encode_batch = settings.images_per_batch
        self.clock = _Clock(settings.device)
        self._pending: dict[str, Future[NDArray[np.uint8]]] = {}

    def images_of(self, episode: Episode) -> tuple[str, list[str]]:
        """Names of the query's image and of the supports' images."""
        return self._query(episode).image, [item.image for item in self._supports(episode)]

    def prefetch(self, episodes: Sequence[Episode], pool: ThreadPoolExecutor) -> None:
        """Lets worker threads decode what these episodes need and nobody has encoded yet."""
        for item in _distinct(self._needed(episodes)):
            if item.image not in self._pending and item.image not in self.stores.features:
                self._pending[item.image] = pool.submit(self.domain.image, item)

    @torch.inference_mode()
    def matched(self, episodes: Sequence[Episode], timing: BatchTiming) -> Tensor:
        """Masks [B, H, W] of a batch."""
        features = self._encoded(_distinct(self._needed(episodes)), timing)
        with self.clock.measured(timing, "match"):
            if self._remembers_maps(episodes):
                logits = self._voted(episodes[0], features)
            else:
                wanted = [(e.support_class_id, i) for e in episodes for i in self._supports(e)]
                query = FeatureBatch.cat([features[self._query(e).image] for e in episodes])
                states = self._support_states(wanted, features)
                shots = len(episodes[0].supports)
                logits = self.method.match_states(query, states, shots=shots)
            size = self.domain.card.image_size
            return _marked(self.method.decide(logits, (size, size)), logits)

    def _voted(self, episode: Episode, features: dict[str, FeatureBatch]) -> Tensor:
        """Logits [1, K, 2, h, w]; what the query and a support gave together is remembered."""
        wanted = {self._pair(episode, item): item for item in self._supports(episode)}
        known = {pair: self.stores.maps.get(pair) for pair in wanted}
        maps = {pair: found for pair, found in known.items() if found is not None}
        missing = [pair for pair in wanted if pair not in maps]
        if missing:
            supports = [(episode.support_class_id, wanted[pair]) for pair in missing]
            states = self._support_states(supports, features)
            query = features[self._query(episode).image]
            logits = self.method.match_states(query, states, shots=len(missing))
            for pair, one in zip(missing, logits.unbind(1), strict=True):
                maps[pair] = one.clone()
                self.stores.maps.put(pair, maps[pair])
        return torch.stack([maps[self._pair(episode, i)] for i in self._supports(episode)], dim=1)

    def adapted(self, episode: Episode, rng: torch.Generator, timing: BatchTiming) -> Tensor:
        """The mask [1, H, W] of one episode by a method that learns before it predicts.

        It is handed the support's features and masks, and the query's features if it says that it
        is transductive; never the query's mask.
        """
        supports = self._supports(episode)
        features = self._encoded(_distinct(self._items([episode])), timing)
        query = features[self._query(episode).image]
        support = FeatureBatch.cat([features[item.image] for item in supports])
        masks = self._masks(supports)

        def encode_again(ready: Method) -> tuple[FeatureBatch, FeatureBatch]:
            shown = ready.encode(self._image(self._query(episode)))
            return shown, ready.encode(torch.cat([self._image(item) for item in supports]))

        found = predict_episode(
            self.method,
            query,
            support,
            masks,
            rng=rng,
            encode_again=encode_again,
            measured=lambda step: self.clock.measured(timing, step),
        )
        return _marked(found.mask, found.logits)

    def _image(self, item: Item) -> Tensor:
        return normalised(self.domain.image(item)[None], self.settings.device)

    def forget(self) -> None:
        """Gives up everything that is kept for speed, and encodes one picture at a time."""
        self.stores.clear()
        self.encode_batch = 1

    def truths(self, episodes: Sequence[Episode]) -> tuple[Tensor, Tensor | None]:
        """True masks [B, H, W] of the queries, and what is undecided in them."""
        items = [self._query(episode) for episode in episodes]
        void = [v for item in items if (v := self.domain.undecided(item)) is not None]
        undecided = self._on_device(void) if void else None
        return self._masks(items), undecided

    def _masks(self, items: Sequence[Item]) -> Tensor:
        """True masks [N, H, W] on the device."""
        return self._on_device([self.domain.truth(item) for item in items])

    def _on_device(self, maps: Sequence[NDArray[np.uint8]]) -> Tensor:
        return onto(torch.from_numpy(np.stack(maps)), self.settings.device)

    def _encoded(self, items: Sequence[Item], timing: BatchTiming) -> dict[str, FeatureBatch]:
        known = {item.image: self.stores.features.get(item.image) for item in items}
        missing = [item for item in items if known[item.image] is None]
        found = {name: rows for name, rows in known.items() if rows is not None}
        keys: dict[str, str] = {}
        if self.stores.files is not None:
            began = time.perf_counter()
            missing = self._read_from_disk(self.stores.files, missing, found, keys)
            timing.load += 1000 * (time.perf_counter() - began)
        step = self.encode_batch
        for chunk in (missing[i : i + step] for i in range(0, len(missing), step)):
            began = time.perf_counter()
            pixels = np.stack([self._picture(item) for item in chunk])
            pictures = normalised(pixels, self.settings.device)
            timing.load += 1000 * (time.perf_counter() - began)
            # Not inference tensors: an adapting method learns from these features.
            with torch.no_grad(), self.clock.measured(timing, "encode"):
                rows = self.method.encode(pictures)
            timing.encoded += len(chunk)
            for i, item in enumerate(chunk):
                one = rows[i : i + 1].detached_copy()
                found[item.image] = one
                self.stores.features.put(item.image, one)
                if self.stores.files is not None:
                    self.stores.files.put(keys[item.image], one)
        return found

    def _read_from_disk(
        self,
        files: FeatureFiles,
        wanted: Sequence[Item],
        found: dict[str, FeatureBatch],
        keys: dict[str, str],
    ) -> list[Item]:
        """Those of `wanted` that are not on disk; the others join `found`, all their `keys`."""
        missing: list[Item] = []
        for item in wanted:
            waiting = self._pending.get(item.image)
            pixels = self.domain.image(item) if waiting is None else waiting.result()
            keys[item.image] = files.key(pixels, self.settings.device)
            row = files.get(keys[item.image], self.settings.device)
            if row is None:
                missing.append(item)
                continue
            self._pending.pop(item.image, None)
            found[item.image] = row
            self.stores.features.put(item.image, row)
        return missing

    def _support_states(
        self, wanted: Sequence[tuple[int, Item]], features: dict[str, FeatureBatch]
    ) -> list[SupportState]:
        """One state per support of a class."""
        states: dict[tuple[int, str], SupportState] = {}
        missing: dict[tuple[int, str], Item] = {}
        for class_id, item in wanted:
            key = (class_id, item.name)
            state = self.stores.states.get(key)
            if state is None:
                missing[key] = item
            else:
                states[key] = state
        if missing:
            rows = FeatureBatch.cat([features[item.image] for item in missing.values()])
            masks = self._masks(list(missing.values()))
            for key, state in zip(missing, self.method.encode_support(rows, masks), strict=True):
                if isinstance(state, FeatureBatch):
                    state = state.detached_copy()
                states[key] = state
                self.stores.keep(key, state)
        return [states[class_id, item.name] for class_id, item in wanted]

    def _picture(self, item: Item) -> NDArray[np.uint8]:
        waiting = self._pending.pop(item.image, None)
        return self.domain.image(item) if waiting is None else waiting.result()

    def _query(self, episode: Episode) -> Item:
        return self.domain.item(episode.class_id, episode.query)

    def _supports(self, episode: Episode) -> list[Item]:
        return [self.domain.item(episode.support_class_id, name) for name in episode.supports]

    def _remembers_maps(self, episodes: Sequence[Episode]) -> bool:
        return self.method.votes and len(episodes) == 1

    def _pair(self, episode: Episode, support: Item) -> tuple[str, int, str]:
        return self._query(episode).image, episode.support_class_id, support.name

    def _items(self, episodes: Sequence[Episode]) -> list[Item]:
        return [item for e in episodes for item in (self._query(e), *self._supports(e))]

    def _needed(self, episodes: Sequence[Episode]) -> list[Item]:
        """Queries and supports whose features something must be computed from."""
        if self.method.adaptation != "none":
            return self._items(episodes)
        needed: list[Item] = []
        for episode in episodes:
            unmatched = self._supports(episode)
            if self._remembers_maps(episodes):
                maps = self.stores.maps
                unmatched = [i for i in unmatched if self._pair(episode, i) not in maps]
            needed += [self._query(episode)] if unmatched else []
            states = self.stores.states
            needed += [i for i in unmatched if (episode.support_class_id, i.name) not in states]
        return needed


def _distinct(items: Sequence[Item]) -> list[Item]:
    return list({item.image: item for item in items}.values())


def _boundaries(
    masks: Tensor, truth: Tensor, ignore: Tensor | None, tolerance: float
) -> list[Boundary]:
    void = [None] * len(truth) if ignore is None else ignore.cpu().numpy()
    pairs = zip(masks.cpu().numpy(), truth.cpu().numpy(), void, strict=True)
    return [boundary_measures(ours, theirs, tolerance, left) for ours, theirs, left in pairs]


_NO_MASK = 255
"""Fills the mask of an episode whose scores are not finite; found when pixels are counted."""


def _marked(masks: Tensor, logits: Tensor) -> Tensor:
    # A comparison with NaN, or with what softmax makes of infinity, is false: the mask would be
    # empty, and counted. To ask here whether there are any would make the host wait for the device.
    bad = ~logits.isfinite().flatten(1).all(1)
    return masks.masked_fill(bad[:, None, None], _NO_MASK)


def _explained(error: NotBinaryError, episodes: Sequence[Episode], method: Method) -> ValueError:
    if error.value != _NO_MASK:
        return error
    asked = episodes[error.row]
    return ValueError(
        f"{type(method).__name__} returned NaN for the query '{asked.query}' with "
        f"the supports {', '.join(asked.supports)}, or infinity"
    )


def _checked(masks: Tensor, truth: Tensor, method: Method) -> Tensor:
    if masks.shape != truth.shape or masks.dtype != torch.uint8:
        raise ValueError(
            f"{type(method).__name__} returned {masks.dtype} {list(masks.shape)} where uint8 "
            f"{list(truth.shape)} was due"
        )
    return masks.to(truth.device)


class _Clock:
    """Times the parts of batches without waiting for the device.

    An accelerator's own clock is read when its work is known to be over.
    """

    def __init__(self, device: str):
        self._device = device
        self._module = accelerator(device)
        self._running: list[tuple[BatchTiming, str, Any, Any]] = []

    @contextmanager
    def measured(self, timing: BatchTiming, part: str) -> Generator[None]:
        """Adds the time of the block to `timing`, on an accelerator at the next `read`."""
        if self._module is None:
            began = time.perf_counter()
            yield
            _add(timing, part, 1000 * (time.perf_counter() - began))
            return
        with self._module.device(self._device):
            begin, end = (self._module.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
        self._running.append((timing, part, begin, end))

    def read(self) -> None:
        """Adds what was measured; to be called after the device's results have been read."""
        for timing, part, begin, end in self._running:
            _add(timing, part, begin.elapsed_time(end))
        self._running.clear()


def _add(timing: BatchTiming, part: str, milliseconds: float) -> None:
    setattr(timing, part, getattr(timing, part) + milliseconds)
