"""Rows gathered by query image: what is drawn together when a result is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import RecordError

from ..records.cell_folder import EpisodeRow
from ..records.counted import Asked, Counted
from .metrics import iou


@dataclass(frozen=True)
class Clusters:
    """Pixel counts of J runs (methods, seeds) by class and query image.

    Attributes:
        class_ids: sorted, C of them.
        queries: the names of each class's query images, sorted.
        counts: per class int64 [Q, J, 2]: foreground intersection and union, summed over the
            episodes that ask that image. A seed that never asks it holds zeros.
    """

    class_ids: tuple[int, ...]
    queries: tuple[tuple[str, ...], ...]
    counts: tuple[NDArray[np.int64], ...]

    @property
    def runs(self) -> int:
        """How many runs are side by side."""
        return self.counts[0].shape[1]

    @property
    def fewest(self) -> int:
        """Query images of the class of which a run asks the fewest.

        Run by run: five seeds that ask one image each show nothing of its spread within a seed.
        """
        return min(int((counts[..., 1] > 0).sum(0).min()) for counts in self.counts)

    def ious(self) -> NDArray[np.float64]:
        """Pooled foreground IoU in percent of every class and run, [C, J]."""
        sums = np.stack([counts.sum(0) for counts in self.counts])
        return iou(sums[..., 0], sums[..., 1])


def clustered(runs: Sequence[Counted | Sequence[EpisodeRow]], *, metric: str = "miou") -> Clusters:
    """The rows of several runs, by class and query image.

    Args:
        runs: of one domain, the same classes in each.
        metric: `miou` or `dice`. For `dice` the two counts are twice the intersection and the
            pixels of both masks added, so that their ratio is Dice instead of IoU.

    Raises:
        RecordError: if there is no row, or the runs do not ask the same classes.
    """
    known = [run if isinstance(run, Counted) else Counted.of(run) for run in runs]
    class_ids, queries, places = _places(tuple(run.asked for run in known))
    ends = np.cumsum([len(found) for found in queries])
    counts = np.zeros((ends[-1], len(known), 2), np.int64)
    for number, (run, place) in enumerate(zip(known, places, strict=True)):
        inter, union = run.counts[:, 0], run.counts[:, 1]
        columns = (2 * inter, inter + union) if metric == "dice" else (inter, union)
        for at, column in enumerate(columns):
            np.add.at(counts[:, number, at], place, column)
    return Clusters(class_ids, queries, tuple(np.split(counts, ends[:-1])))


@lru_cache(maxsize=64)
def _places(
    asked: tuple[Asked, ...],
) -> tuple[tuple[int, ...], tuple[tuple[str, ...], ...], list[NDArray[np.int64]]]:
    """Class ids and their query images as in `Clusters`, and by run each row's place among them."""
    if not asked or not all(one.rows for one in asked):
        raise RecordError("there are no episodes to compare")
    classes = [set(one.class_ids.tolist()) for one in asked]
    if any(found != classes[0] for found in classes):
        raise RecordError("the runs do not ask the same classes")
    images = sorted({image for one in asked for image in one.images})
    place = {image: at for at, image in enumerate(images)}
    names: dict[int, list[str]] = {}
    for class_id, query in images:
        names.setdefault(class_id, []).append(query)
    places = [np.array([place[image] for image in one.images]) for one in asked]
    return tuple(names), tuple(map(tuple, names.values())), places
