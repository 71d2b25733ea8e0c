"""Records with rows, written without computing anything: what reports and comparisons read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from cdfss_bench.bench.records.cell_folder import CellFolder, EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.records.schema import MetricsPart, RunRecord
from cdfss_bench.bench.statistics.metrics import measure
from cdfss_bench.datasets import Episode, Manifest

from ..bench.comparison.test_leaderboard import record

PIXELS = 400 * 400


def write_cell(
    results: Path,
    method: str = "ssp",
    domain: str = "isic",
    *,
    skill: float = 0.5,
    seed: int = 0,
    episodes: int = 60,
    classes: int = 3,
    **changes: Any,
) -> RunRecord:
    """A finished cell with rows, manifest and record that fit each other.

    Args:
        results: the results folder.
        method: its label.
        domain: its name.
        skill: mean IoU that the drawn counts have.
        seed: of the episodes; the same questions for every method.
        episodes: how many.
        classes: among which they go round.
        **changes: of the record, as in `test_leaderboard.record`.
    """
    asked = [
        Episode(f"{domain}/{i % classes}/{(7 * i + seed) % 40:03d}", ("s0",), i % classes)
        for i in range(episodes)
    ]
    manifest = Manifest(domain, "f" * 64, "full", "patnet", 1, 1, seed, tuple(asked))
    # Difficulty belongs to the image, luck to the method: results of two methods are correlated.
    luck = np.random.RandomState(sum(map(ord, method + domain)) + seed)
    rows: list[EpisodeRow] = []
    for index, episode in enumerate(asked):
        easy = np.random.RandomState(sum(map(ord, episode.query))).uniform(-0.3, 0.3)
        iou = float(np.clip(skill + easy + luck.uniform(-0.1, 0.1), 0, 1))
        union = 20_000 + 100 * (index % 40)
        inter = round(iou * union)
        counts = Counts(inter, union, PIXELS - union, PIXELS - inter)
        rows.append(EpisodeRow(index, episode, counts))
    found = measure([row.episode.class_id for row in rows], [row.counts for row in rows])
    told = f"{method}{domain}{seed}{episodes}{skill}{changes}"
    cell = hashlib.sha256(told.encode()).hexdigest()
    filled = record(
        method,
        domain,
        found.miou,
        **{
            "cell": cell,
            "episodes__seed": seed,
            "episodes__count": episodes,
            "episodes__sha256": manifest.sha256,
            "domain__classes": {i: f"class {i}" for i in range(classes)},
            **changes,
        },
    )
    filled.metrics = MetricsPart(
        miou=found.miou,
        fb_iou=found.fb_iou,
        macro_iou=found.macro_iou,
        per_class=dict(found.per_class),
        episodes=episodes,
    )
    folder = CellFolder.of(results, domain=domain, shots=1, label=method, cell=cell)
    folder.path.mkdir(parents=True)
    manifest.save(folder.manifest)
    filled.episodes.rows_sha256 = folder.write_rows(rows)
    filled.save(folder.record)
    return filled
