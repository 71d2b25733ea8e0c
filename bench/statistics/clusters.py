"""Rows gathered by query image: what is drawn together when a result is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import RecordError

from ..records.cell_folder import EpisodeRow
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


def clustered(runs: Sequence[Sequence[EpisodeRow]], *, metric: str = "miou") -> Clusters:
    """The rows of several runs, by class and query image.

    Args:
        runs: of one domain, the same classes in each.
        metric: `miou` or `dice`; of Dice the counts are twice the intersection, and the pixels of
            both masks together, whose ratio is Dice as that of the others is IoU.

    Raises:
        RecordError: if there is no row, or the runs do not ask the same classes.
    """
    if not runs or not all(runs):
        raise RecordError("there are no episodes to compare")
    asked = [{row.episode.class_id for row in rows} for rows in runs]
    if any(classes != asked[0] for classes in asked):
        raise RecordError("the runs do not ask the same classes")
    names: dict[int, set[str]] = {class_id: set() for class_id in asked[0]}
    for rows in runs:
        for row in rows:
            names[row.episode.class_id].add(row.episode.query)
    class_ids = tuple(sorted(names))
    queries = tuple(tuple(sorted(names[class_id])) for class_id in class_ids)
    place = {
        (class_id, name): (c, q)
        for c, class_id in enumerate(class_ids)
        for q, name in enumerate(queries[c])
    }
    counts = tuple(np.zeros((len(found), len(runs), 2), np.int64) for found in queries)
    for run, rows in enumerate(runs):
        for row in rows:
            c, q = place[row.episode.class_id, row.episode.query]
            inter, union = row.counts.inter, row.counts.union
            counts[c][q, run] += (2 * inter, inter + union) if metric == "dice" else (inter, union)
    return Clusters(class_ids, queries, counts)
