"""Simulated domains with the class and query structure of the real protocols.

An image has a size and a difficulty; a method's intersection and union on it follow from both and
from noise of its own. Pixel counts are bounded by the 400x400 grid, and skewed as real ones are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.bench.statistics.clusters import Clusters

GRID = 400 * 400

STRUCTURES = {
    # Published populations: every FSS-1000 image is asked once; the others draw 600 queries with
    # repetition, class by class in turn.
    "fss1000": ((10,) * 240, None),
    "deepglobe": ((1_564, 1_370, 4_189, 2_195, 4_333, 1_500), 600),
    "isic": ((1_867, 254, 374), 600),
    "chestxray": ((566,), 600),
    "a quarter of fss1000": ((10,) * 60, None),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A population of images, and methods of which the first two are equally good.

    Args:
        structure: which protocol's.
        seed: of the classes' nature.
        swapped: whether the second method is good at the classes where the first is bad (classes
            come in pairs that differ in nothing else), instead of equal in each.
    """

    structure: str
    seed: int = 0
    swapped: bool = False

    def draw(self, rng: np.random.RandomState, *, methods: int = 1) -> Clusters:
        """One run of the protocol on freshly drawn images, `methods` side by side."""
        images, episodes = STRUCTURES[self.structure]
        nature = np.random.RandomState(self.seed)
        counts: list[NDArray[np.int64]] = []
        pairs = [nature.uniform(size=(2, 5)) for _ in range(len(images) // 2 + 1)]
        for index, population in enumerate(images):
            first, second = pairs[index // 2] if index % 2 == 0 else pairs[index // 2][::-1]
            last_alone = index == len(images) - 1 and len(images) % 2 == 1
            second = second if self.swapped and not last_alone else first
            size_of = pairs[index // 2][0]
            times = _asked(population, episodes, len(images), rng)
            z, own = rng.standard_normal((2, len(times)))
            area = np.round(GRID / (1 + np.exp(3 * size_of[0] - (0.3 + 0.7 * size_of[1]) * z)))
            table = np.zeros((len(times), methods, 2), np.int64)
            for method in range(methods):
                skill = (first, second)[method] if method < 2 else first
                ease = (
                    3 * skill[2]
                    - 0.5
                    + (0.6 + skill[3])
                    * (0.3 * z + 0.95 * (0.8 * own + 0.6 * rng.standard_normal(len(times))))
                )
                for repeat in range(int(times.max())):
                    iou = 1 / (1 + np.exp(-ease - 0.4 * rng.standard_normal(len(times))))
                    over = rng.uniform(size=len(times))
                    union = np.minimum(np.round(area * (1 + over * (1 / iou - 1))), GRID)
                    inter = np.minimum(np.round(iou * union), area)
                    table[:, method] += (times > repeat)[:, None] * np.stack(
                        (inter, union), 1
                    ).astype(np.int64)
            counts.append(table)
        names = tuple(tuple(f"{i:05d}" for i in range(len(table))) for table in counts)
        return Clusters(tuple(range(len(images))), names, tuple(counts))

    def expected(self, runs: int) -> float:
        """The mean of the protocol's mIoU over many runs, in percent."""
        rng = np.random.RandomState(self.seed + 10_000)
        return float(np.mean([self.draw(rng).ious().mean() for _ in range(runs)]))


def _asked(
    population: int, episodes: int | None, classes: int, rng: np.random.RandomState
) -> NDArray[np.int64]:
    """How often each image that is asked at all is asked."""
    if episodes is None:
        return np.ones(population, np.int64)
    drawn = np.bincount(rng.randint(population, size=episodes // classes), minlength=population)
    return drawn[drawn > 0]
