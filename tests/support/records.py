"""Records with rows, written without computing anything: what reports and comparisons read."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from cdfss_bench.bench.planning.cell import method_part
from cdfss_bench.bench.planning.hashes import evaluator_code
from cdfss_bench.bench.records.cell_folder import CellFolder, EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.records.schema import CostPart, MetricsPart, RunRecord
from cdfss_bench.bench.statistics.metrics import measure
from cdfss_bench.datasets import Episode, Manifest
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.name_grammar import parse

PIXELS = 400 * 400
COST = CostPart(
    params=8_667_072,
    flops_encode=1,
    flops_match=1,
    flops_episode=111_462_400_000,
    uncounted=[],
    probe="p",
    latency_ms={"episode": {"p50": 12.345, "p90": 13, "p99": 14}},
    device="cpu",
    peak_memory_mb=1,
)
DOMAINS = ("chestxray", "deepglobe", "fss1000", "isic")


def code_of(method: str, backbone: str) -> str:
    """Hash of the installed code of a method; any text for one that is not installed."""
    try:
        return method_part(parse(method), backbone).code
    except UserError:
        return "not installed"


def record(
    method: str = "ssp", domain: str = "isic", miou: float | None = 40.0, **changes: Any
) -> RunRecord:
    values: dict[str, Any] = {
        "cell": "0" * 64,
        "status": "done" if miou is not None else "refused",
        "reason": "" if miou is not None else "class 'a|b' has 5 images",
        "domain": {
            "name": domain,
            "title": domain,
            "suite": "cdfss",
            "profile": "full",
            "complete": True,
            "fingerprint": "f" * 64,
            "classes": {0: "x"},
        },
        "episodes": {"protocol": "patnet", "shots": 1, "seed": 0, "count": 600, "sha256": "e"},
        "method": {
            "label": method,
            "composition": method,
            "given": {},
            "options": {},
            "adaptation": "none",
            "backbone": "resnet50",
            "code": code_of(method, changes.get("method__backbone", "resnet50")),
        },
        "weights": {"description": "trained on pascal", "selection": "last"},
        "evaluator": {"version": 1, "code": evaluator_code(), "image_size": 400},
    }
    if miou is not None:
        values["metrics"] = {
            "miou": miou,
            "fb_iou": 60,
            "macro_iou": 41,
            "per_class": {0: miou},
            "episodes": 600,
        }
    for path, value in changes.items():
        part, _, key = path.partition("__")
        if key:
            values[part][key] = value
        else:
            values[part] = value
    return RunRecord.model_validate(values)


def all_domains(method: str = "ssp", **changes: Any) -> list[RunRecord]:
    return [record(method, domain, 40.0 + i, **changes) for i, domain in enumerate(DOMAINS)]


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
    """A finished cell with rows, manifest and record that fit each other, of mean IoU `skill`."""
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
