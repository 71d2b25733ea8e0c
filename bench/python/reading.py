"""`cdfss_bench.read_results`: records as tables of cells, classes or episodes."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import pandas as pd

from cdfss_bench.errors import RecordError, UserError, unknown

from ..comparison.current import state_of
from ..comparison.measures import metrics_of
from ..records.results import RunResult, run_results
from ..statistics.metrics import METRICS, iou

Level: TypeAlias = Literal["cell", "class", "episode"]

SHARED = (
    *("cell", "method", "composition", "backbone", "weights", "adaptation"),
    *("domain", "shots", "seed", "protocol", "limited", "code"),
)
"""Columns of every level: which cell a line belongs to."""
_METRICS = [name.replace("-", "_") for name in METRICS]
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "cell": (
        *SHARED,
        *("suite", "profile", "complete", "episodes", "miou", "miou_low", "miou_high"),
        *_METRICS[1:],
        *("params", "flops_episode", "latency_ms", "device", "finished", "path"),
    ),
    "class": (*SHARED, "class_id", "class", "episodes", "iou", "dice"),
    "episode": (
        *(*SHARED, "episode", "class_id", "class", "query", "supports"),
        *("inter", "union", "inter_bg", "union_bg", "iou", "dice"),
        *("hd95", "nsd", "nsd_tolerance", "boundary_iou"),
    ),
}
"""Columns by level."""


def read_results(
    results: str | os.PathLike[str] = "results",
    level: Level = "cell",
    *,
    told: Callable[[RecordError], None] | None = None,
) -> pd.DataFrame:
    """Read all finished records under a results folder as one table; torch is not needed.

    A cell whose folder was copied, as clouds do, or that was run under two spellings of one name,
    is there once, by its newest record.

    Every level has `cell` (the id), `method`, `composition` (aliases resolved), `backbone`,
    `weights` (what they are to the method), `adaptation`, `domain`, `shots`, `seed`, `protocol`,
    `limited` (fewer episodes than the protocol's) and `code`: `current` if the installed code
    computed it, `stale` if older code did, `unknown` if the method is not installed. Metrics are
    in percent, from the integer counts of the episodes. Further columns by level:

    - `cell`: `suite`, `profile` and `complete` (which data), `episodes`, `miou` with its 95 %
      interval `miou_low` and `miou_high`, `dice`, `fb_iou`, `macro_iou`, `macro_dice`, `params`,
      `flops_episode`, `latency_ms` (median of an episode, batch 1) on `device`, `finished`, and
      the `path` of the record.
    - `class`: `class_id`, `class` (its name), `episodes`, `iou` and `dice`.
    - `episode`: `episode` (its number), `class_id`, `class`, `query`, `supports` (a tuple), the
      pixel counts `inter`, `union` (foreground), `inter_bg`, `union_bg`, `iou`, `dice`, and
      where they were computed `hd95`, `nsd` (with `nsd_tolerance`) and `boundary_iou`.

    Args:
        results: the folder that `run` wrote to.
        level: one line per cell, per class of a cell, or per episode.
        told: is handed the error of a damaged record, which is left out.

    Raises:
        RecordError: for a damaged record, unless `told` is given.
        UserError: if there are no records, or the level is unknown.

    Example:
        >>> from cdfss_bench import read_results
        >>> cells = read_results("results/sample")
        >>> sorted(cells["shots"].unique().tolist())
        [1, 5]
        >>> episodes = read_results("results/sample", level="episode")
        >>> len(episodes) - int(cells["episodes"].sum())
        0
    """
    _check(level)
    folder = folder_of(results)
    found = run_results(folder, told)
    if not found:
        raise UserError(
            f"there are no records under {folder / 'runs'}",
            hint="name the folder that `run` wrote to",
        )
    return table_of(_each_cell_once(found), level)


def folder_of(results: object) -> Path:
    """The folder of records that a caller named.

    Raises:
        UserError: if it is no path.
    """
    if not isinstance(results, str | os.PathLike):
        raise UserError(f"results={results!r} is no folder", hint="results='results'")
    return Path(cast("str | os.PathLike[str]", results))


def _each_cell_once(found: Iterable[RunResult]) -> list[RunResult]:
    """The finished results, of a cell whose folder was copied the newest, in their order."""
    newest: dict[str, RunResult] = {}
    for one in found:
        if one.record.status == "done":
            known = newest.setdefault(one.record.cell, one)
            if one.record.finished > known.record.finished:
                newest[one.record.cell] = one
    return list(newest.values())


def table_of(found: Iterable[RunResult], level: Level = "cell") -> pd.DataFrame:
    """Finished results as the table of `read_results`.

    Raises:
        RecordError: if rows are damaged or missing.
    """
    _check(level)
    lines = {"cell": _cell, "class": _classes, "episode": _episodes}[level]
    rows = [{**_shared(one), **line} for one in found for line in lines(one)]
    return pd.DataFrame(rows, columns=list(COLUMNS[level]))


def _check(level: str) -> None:
    if level not in COLUMNS:
        raise unknown("level", level, COLUMNS)


def _shared(one: RunResult) -> dict[str, Any]:
    record = one.record
    return {
        "cell": record.cell,
        "method": record.name,
        "composition": record.method.composition,
        "backbone": record.method.backbone,
        "weights": record.weights_kind,
        "adaptation": record.method.adaptation,
        "domain": record.domain.title,
        "shots": record.episodes.shots,
        "seed": record.episodes.seed,
        "protocol": record.episodes.protocol,
        "limited": record.episodes.limited,
        "code": state_of(record),
    }


def _cell(one: RunResult) -> Iterator[dict[str, Any]]:
    record, metrics = one.record, metrics_of(one)
    cost = record.cost
    stated = record.metrics.miou_interval if record.metrics else None
    yield {
        "suite": record.domain.suite,
        "profile": record.domain.profile,
        "complete": record.domain.complete,
        "episodes": metrics.episodes,
        "miou_low": stated[0] if stated else None,
        "miou_high": stated[1] if stated else None,
        **{name: metrics.value(name) for name in _METRICS},
        "params": cost.params if cost else None,
        "flops_episode": cost.flops_episode if cost else None,
        "latency_ms": cost.latency_ms["episode"]["p50"] if cost else None,
        "device": cost.device if cost else "",
        "finished": record.finished,
        "path": str(one.path),
    }


def _classes(one: RunResult) -> Iterator[dict[str, Any]]:
    metrics = metrics_of(one)
    asked = [row.episode.class_id for row in one.rows]
    for class_id, value in metrics.per_class.items():
        yield {
            "class_id": class_id,
            "class": one.record.domain.classes.get(class_id, str(class_id)),
            "episodes": asked.count(class_id),
            "iou": value,
            "dice": metrics.dice_per_class[class_id],
        }


def _episodes(one: RunResult) -> Iterator[dict[str, Any]]:
    names = one.record.domain.classes
    for row in one.rows:
        inter, union = row.counts.inter, row.counts.union
        yield {
            "episode": row.index,
            "class_id": row.episode.class_id,
            "class": names.get(row.episode.class_id, str(row.episode.class_id)),
            "query": row.episode.query,
            "supports": row.episode.supports,
            **row.counts._asdict(),
            "iou": float(iou(inter, union)),
            "dice": float(iou(2 * inter, inter + union)),
            **(row.boundary._asdict() if row.boundary else {}),
        }
