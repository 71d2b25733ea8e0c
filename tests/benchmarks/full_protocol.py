"""How long the whole protocol takes, row by row: 4,200 episodes with 1 and 5 shots and five seeds.

    python tests/benchmarks/full_protocol.py --device cuda --precision bf16

The pictures are the mini suite's, enlarged to 400 px and moved about until there are as many as in
the published domains (240 x 10, 9,000 tiles, 2,594, 566). They are made in memory, at the cost of a
warm decode cache. Parameters are drawn. Beside every row stands the plain evaluator
(tests/support/plain_evaluator.py) on the same device, timed on a slice of the episodes: seconds of
an episode, from which nothing is reckoned.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import inf
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from against_plain import network, plain_logits, plain_mask

from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.records.environment import device_name
from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.canonical import digest
from cdfss_bench.datasets import Domain
from cdfss_bench.datasets.core.decode_cache import DecodeCache, Pixels
from cdfss_bench.datasets.core.domain import DomainClass, Item
from cdfss_bench.datasets.core.registry import DOMAINS, open_domain
from cdfss_bench.datasets.core.transforms import nearest_indices
from cdfss_bench.methods.core.method import Method

MODELS = {
    "fss1000": ("mini-objects", (10,) * 240),
    "deepglobe": ("mini-landcover", (1500,) * 6),
    "isic": ("mini-lesion", (1867, 208, 519)),
    "chestxray": ("mini-chest", (566,)),
}
"""The drawn domain that a published one is made of, and how many pictures its classes have."""
PLAIN_EPISODES = 3


class Enlarged(Domain):
    """A published domain's card, classes and size, with pictures of the mini suite.

    Args:
        name: of the card.
        share: of the classes' pictures (FSS-1000: of its classes) and of the episodes.
    """

    def __init__(self, name: str, share: float):
        super().__init__(DOMAINS.card(name), Path(), {}, DecodeCache(None))
        self._model = open_domain(MODELS[name][0], cache=None)
        counts = MODELS[name][1]
        if self.card.sampling == "cycle":
            self._counts = tuple(max(10, round(share * count)) for count in counts)
            self.length = max(3, round(share * (self.card.length or 0)))
        else:
            self._counts = counts[: max(2, round(share * len(counts)))]
            self.length = sum(self._counts)

    def discover(self) -> Sequence[DomainClass]:
        """Class after class, each of one of the model's."""
        models = self._model.classes
        found: list[DomainClass] = []
        for index, count in enumerate(self._counts):
            model = models[index % len(models)]
            items = [self._moved(model.items[n % len(model.items)], index, n) for n in range(count)]
            found.append(
                DomainClass(
                    self.card.first_class_id + index, self.card.classes[index], tuple(items)
                )
            )
        return found

    @staticmethod
    def _moved(item: Item, index: int, number: int) -> Item:
        name = f"{item.name}@{index}.{number}"
        return Item(name, f"{item.image}@{index}.{number}", item.mask, item.label)

    def listed_queries(self) -> Sequence[tuple[int, str]] | None:
        """As the card says: every picture, or none."""
        if self.card.sampling == "cycle":
            return None
        return [(entry.id, item.name) for entry in self.classes for item in entry.items]

    def read_image(self, path: str) -> Pixels:
        """The model's picture, enlarged and moved."""
        name, _, place = path.partition("@")
        return _pixels(_turned(self._enlarged(name, labels=False), place))

    def read_labels(self, item: Item) -> Pixels:
        """Likewise."""
        place = item.image.partition("@")[2]
        return _pixels(_turned(self._enlarged(item.mask, labels=True), place))

    def content_hash(self, *, again: bool = False) -> str:
        """There are no files: counts decide everything."""
        del again
        return digest([self.title, self._counts])

    def draw_all(self) -> None:
        """Draws every picture and mask that may be asked for, as a warm decode cache holds them."""
        for entry in self._model.classes[: len(self._counts)]:
            for item in entry.items:
                self._enlarged(item.image, labels=False)
                self._enlarged(item.mask, labels=True)

    @lru_cache(maxsize=4096)  # noqa: B019 - a domain lives as long as the program
    def _enlarged(self, name: str, *, labels: bool) -> NDArray[np.uint8]:
        item = Item(name, name, name, 1)
        read = self._model.read_labels(item) if labels else self._model.read_image(name)
        side = self.card.image_size
        places = nearest_indices(read.array.shape[0], side)
        return np.ascontiguousarray(read.array[np.ix_(places, places)])


def _turned(array: NDArray[np.uint8], place: str) -> NDArray[np.uint8]:
    index, number = (int(part) for part in place.split("."))
    return np.roll(array, (37 * number + 11 * index, 101 * number + 7 * index), axis=(0, 1))


def _pixels(array: NDArray[np.uint8]) -> Pixels:
    return Pixels(array, (array.shape[1], array.shape[0]))


def spent(
    method: Method,
    domain: Enlarged,
    shots: int,
    seeds: int,
    settings: Settings,
    stores: FeatureStores,
    seconds: float = inf,
) -> tuple[Counter[str], float]:
    """Milliseconds by stage, pictures encoded, episodes; and seconds, about so many at most."""
    stages: Counter[str] = Counter()
    began = time.perf_counter()
    for seed in range(seeds):
        asked = domain.episodes(shots, seed, "patnet", domain.length).episodes
        batches = evaluate(method, domain, asked, seed=seed, settings=settings, stores=stores)
        for rows, timing in batches:
            stages["episodes"] += len(rows)
            for part in ("load", "encode", "encoded", "match"):
                stages[part] += getattr(timing, part)
            if time.perf_counter() - began > seconds:
                return stages, time.perf_counter() - began
    return stages, time.perf_counter() - began


def row(
    method: Method, domains: Mapping[str, Enlarged], given: argparse.Namespace
) -> tuple[float, int]:
    """Prints a line per domain and number of shots; seconds and episodes of all."""
    settings = Settings(given.device, given.batch, given.encode_batch, int(given.memory * 2**30))
    total, asked = 0.0, 0
    for name, domain in domains.items():
        stores = FeatureStores(settings.budget)
        for shots in given.shots:
            stages, took = spent(method, domain, shots, given.seeds, settings, stores)
            total, asked = total + took, asked + stages["episodes"]
            parts = ", ".join(
                f"{stage} {stages[stage] / 1000:.2f}" for stage in ("load", "encode", "match")
            )
            print(
                f"  {name:10} {shots}-shot {stages['episodes']:6} episodes {took:8.2f} s "
                f"({parts} s; {stages['encoded']} pictures encoded)",
                flush=True,
            )
    return total, asked


def plain(method: Method, domain: Enlarged, device: str) -> float:
    """Seconds of a 5-shot episode by the plain evaluator, the least of a few."""
    times: list[float] = []
    method = method.to(device)
    for episode in domain.episodes(5, 0, "patnet", PLAIN_EPISODES).episodes:
        loaded = domain.load(episode)
        asked = [
            part.to(device)
            for part in (loaded.query_image, loaded.support_images, loaded.support_masks)
        ]
        began = time.perf_counter()
        plain_mask(plain_logits(method, asked[0], asked[1], asked[2])).cpu()
        times.append(time.perf_counter() - began)
    return min(times)


def main(words: Sequence[str] | None = None) -> None:
    """Prints each row's cells, its sum, and the plain evaluator's slice."""
    parser = argparse.ArgumentParser(description="the whole protocol, timed")
    parser.add_argument("--methods", nargs="+", default=["ssp", "loec", "hsnet", "patnet"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--domains", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=0, help="episodes together; 0 chooses")
    parser.add_argument("--encode-batch", type=int, default=4)
    parser.add_argument("--memory", type=float, default=2, help="GiB of features kept")
    parser.add_argument("--share", type=float, default=1, help="of pictures and episodes")
    given = parser.parse_args(words)
    asked = " ".join(sys.argv[1:] if words is None else words)
    where = f"{device_name(given.device)}, torch {torch.__version__}"
    print(f"{where}, allocator {keep_memory()}, {asked}")
    domains = {name: Enlarged(name, given.share) for name in given.domains}
    first = next(iter(domains.values()))
    loaded = first.load(first.episodes(5, 0, "patnet", 1).episodes[0])
    example = (loaded.query_image, loaded.support_images, loaded.support_masks)
    for method_name in given.methods:
        method = network(method_name, given.backbone, None, example)
        method.precision = given.precision
        print(f"{method_name} {given.precision}", flush=True)
        took, done = row(method, domains, given)
        slow = plain(method, first, given.device)
        print(
            f"  {method_name}: {done} episodes in {took:.1f} s, {1000 * took / done:.2f} ms each; "
            f"the plain evaluator takes {1000 * slow:.2f} ms for a 5-shot episode "
            f"(fp32, timed on {PLAIN_EPISODES})",
            flush=True,
        )


if __name__ == "__main__":
    main()
