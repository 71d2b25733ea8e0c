"""What papers report, read from `published.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from cdfss_bench.errors import RecordError

DOMAINS = ("fss1000", "deepglobe", "isic", "chestxray")
FIELDS = (*DOMAINS, "mean")


@dataclass(frozen=True, slots=True)
class Report:
    """One method as papers report it.

    Attributes:
        method: as the papers spell it.
        year: of the method's paper.
        backbone: as reported.
        shots: supports per episode.
        finetunes: `yes`, `no` or `unknown`: whether it learns on target data.
        other_metric: whether it was measured with IFA's evaluation, which on DeepGlobe and ISIC is
            no mIoU.
        figures: all reported values of each domain and of the mean.
        sources: where they stand.
    """

    method: str
    year: str
    backbone: str
    shots: int
    finetunes: str
    other_metric: bool
    figures: dict[str, tuple[float, ...]]
    sources: tuple[str, ...]


def find_published(results: Path) -> Path:
    """`published.csv` of a results folder, or the one that the package holds.

    Raises:
        RecordError: if neither has one.
    """
    # In a checkout and in an installed package alike.
    candidates = (results, Path(__file__).parents[2] / "results")
    for folder in candidates:
        if (folder / "published.csv").is_file():
            return folder / "published.csv"
    raise RecordError(
        f"there is no published.csv in {results}", hint="name the file: --against FILE"
    )


def read_published(path: Path) -> list[Report]:
    """Reports in the file's order; several sources of one figure are gathered.

    Raises:
        RecordError: naming the line that is wrong.
    """
    gathered: dict[tuple[str, str, int, bool], list[dict[str, str]]] = {}
    number = 1
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                number += 1
                other = "IFA evaluation" in line["source"]
                key = (line["method"], line["backbone"], int(line["shots"]), other)
                for name in FIELDS:
                    float(line[name] or 0)
                gathered.setdefault(key, []).append(line)
    except (OSError, KeyError, ValueError, TypeError) as error:
        problem = f"{path}, line {number}: no table of published figures ({error})"
        raise RecordError(problem) from error
    return [
        Report(
            method=method,
            year=lines[0]["year"],
            backbone=backbone,
            shots=shots,
            finetunes=lines[0]["finetunes_on_target"],
            other_metric=other,
            figures={
                name: tuple(sorted({float(line[name]) for line in lines if line[name]}))
                for name in FIELDS
            },
            sources=tuple(dict.fromkeys(line["source"] for line in lines)),
        )
        for (method, backbone, shots, other), lines in gathered.items()
    ]
