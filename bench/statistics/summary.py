"""The metrics part of a record, from its rows: written by a run, recomputed by `verify`."""

from __future__ import annotations

from collections.abc import Sequence

from ..records.cell_folder import EpisodeRow
from ..records.counted import Counted
from ..records.schema import MetricsPart
from .bootstrap import resampled
from .clusters import clustered
from .metrics import measure


def metrics_of(rows: Counted | Sequence[EpisodeRow]) -> MetricsPart:
    """The metrics of finished rows, as records hold them.

    Raises:
        ValueError: if there is no row.
    """
    known = rows if isinstance(rows, Counted) else Counted.of(rows)
    found = measure(known.asked.class_ids, known.counts)
    again = resampled(clustered([known]), by_class=False)
    # Four decimals of a percent: the last digits of sums of floats differ between processors.
    ends = (round(again.mean.low, 4), round(again.mean.high, 4)) if again else None
    return MetricsPart(
        miou=found.miou,
        miou_interval=ends,
        fb_iou=found.fb_iou,
        macro_iou=found.macro_iou,
        per_class=dict(found.per_class),
        episodes=found.episodes,
    )
