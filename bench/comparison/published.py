"""What papers report, read from `published.csv`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdfss_bench.errors import RecordError

COMPARABILITY = {
    "source training": "trained",
    "no source training": "untrained",
    "pool fine-tuning": "pool",
    "other metric": "metric",
    "other resolution": "size",
    "other episode count": "episodes",
    "secondary source": "secondary",
}
"""What decides whether a published figure can stand beside another; its word in tables."""

_SECONDARY = "secondary source"

_DESCRIBING = frozenset(
    [
        "method",
        "venue",
        "year",
        "backbone",
        "finetunes_on_target",
        "shots",
        "comparability",
        "source",
    ]
)
"""Columns that say what was measured; all others are domains, by name, and `mean`."""


@dataclass(frozen=True, slots=True)
class Report:
    """One method as papers report it.

    Attributes:
        method: as the papers spell it.
        year: of the method's paper.
        backbone: as reported.
        shots: supports per episode.
        finetunes: `yes`, `no` or `unknown`: whether it learns on target data.
        comparability: those of `COMPARABILITY` that hold for all its sources.
        figures: all reported values of each domain and of the mean.
        sources: where they stand.
    """

    method: str
    year: str
    backbone: str
    shots: int
    finetunes: str
    comparability: tuple[str, ...]
    figures: dict[str, tuple[float, ...]]
    sources: tuple[str, ...]

    @property
    def other_metric(self) -> bool:
        """Whether it was measured with IFA's evaluation, no mIoU on DeepGlobe and ISIC."""
        return "other metric" in self.comparability


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
        RecordError: if it is not there, or naming the line that is wrong.
    """
    if not path.is_file():
        raise RecordError(
            f"{path}: there is no such file", hint="--against published takes the papers' numbers"
        )
    gathered: dict[tuple[str, str, int, tuple[str, ...]], list[dict[str, str]]] = {}
    number, fields = 1, list[str]()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            fields = [name for name in table.fieldnames or () if name not in _DESCRIBING]
            for line in table:
                number += 1
                key = (line["method"], line["backbone"], int(line["shots"]), _conditions(line))
                for name in (*fields, "mean"):
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
            comparability=(*classes, *_all_secondary(lines)),
            figures={
                name: tuple(sorted({float(line[name]) for line in lines if line[name]}))
                for name in fields
            },
            sources=tuple(dict.fromkeys(line["source"] for line in lines)),
        )
        for (method, backbone, shots, classes), lines in gathered.items()
    ]


def _conditions(line: dict[str, str]) -> tuple[str, ...]:
    """How a figure was made; sources that agree in it speak of the same figure."""
    named = [word.strip() for word in line.get("comparability", "").split(";") if word.strip()]
    unknown = [word for word in named if word not in COMPARABILITY]
    if unknown:
        raise ValueError(f"comparability '{unknown[0]}' is none of {', '.join(COMPARABILITY)}")
    return tuple(word for word in named if word != _SECONDARY)


def _all_secondary(lines: Sequence[dict[str, str]]) -> list[str]:
    return (
        [_SECONDARY] if all(_SECONDARY in line.get("comparability", "") for line in lines) else []
    )
