"""What papers report, beside what was measured here: never in the same column."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdfss_bench.errors import RecordError

from ..reporting.text_table import BLANK, TextTable
from .current import STALE, STALE_LEGEND
from .leaderboard import ColumnKey, Leaderboard, Row

DOMAINS = ("fss1000", "deepglobe", "isic", "chestxray")
_FIELDS = (*DOMAINS, "mean")
_BACKBONES = {"resnet-50": "resnet50", "vit-b": "vit-b"}


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
        f"there is no published.csv in {results}", mend="name the file: --against FILE"
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
                for name in _FIELDS:
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
                for name in _FIELDS
            },
            sources=tuple(dict.fromkeys(line["source"] for line in lines)),
        )
        for (method, backbone, shots, other), lines in gathered.items()
    ]


def against(board: Leaderboard, reports: Sequence[Report]) -> TextTable:
    """The published figures of a board's shots, with ours and the difference where we have one."""
    wanted = [report for report in reports if report.shots == board.key.shots]
    groups = {
        "published, no learning on target data": [
            r for r in wanted if r.finetunes == "no" and not r.other_metric
        ],
        "published, learns on target data (or does not say)": [
            r for r in wanted if r.finetunes != "no" and not r.other_metric
        ],
        "published with IFA's evaluation: no mIoU on deepglobe and isic, compare with nothing": [
            r for r in wanted if r.other_metric
        ],
    }
    rows: list[list[str]] = []
    sections: dict[int, str] = {}
    sources: dict[str, None] = {}
    for title, group in groups.items():
        if group:
            sections[len(rows)] = title
        for report in group:
            ours = None if report.other_metric else _ours(report, board)
            rows.append(
                [
                    f"{report.method} ({report.year})" if report.year else report.method,
                    report.backbone,
                    *(_cell(report, name, board, ours) for name in _FIELDS),
                ]
            )
            sources |= dict.fromkeys(report.sources)
    return TextTable(
        title=f"published, {board.key.shots}-shot (%), and ours with the difference",
        headers=["method", "backbone", *_FIELDS],
        rows=rows,
        numeric=frozenset(range(2, 2 + len(_FIELDS))),
        notes=[
            "a range: sources disagree; in brackets: measured here, difference to the nearer end",
            "published figures differ in data, episodes and checkpoint selection: docs/protocol.md",
            *_bare(board),
            *([STALE_LEGEND] if any(STALE in cell for cells in rows for cell in cells) else []),
            *(f"source: {source}" for source in sources),
        ],
        sections=sections,
    )


def _ours(report: Report, board: Leaderboard) -> Row | None:
    if board.key.suite != "cdfss":
        return None
    name = re.sub(r"[^a-z0-9+-]", "", report.method.lower())
    backbone = _BACKBONES.get(report.backbone.lower(), report.backbone.lower())
    for key, row in board.rows.items():
        if (key.label.lower(), key.backbone) == (name, backbone) and not (
            row.is_bare or row.is_trial
        ):
            return row
    return None


def _bare(board: Leaderboard) -> list[str]:
    """Rows that have a published method's name and lack its training."""
    labels = sorted(row.key.label for row in board.rows.values() if row.is_bare)
    said = f"left out, since published figures are of trained methods: {', '.join(labels)}"
    return [said] if labels else []


def _cell(report: Report, name: str, board: Leaderboard, ours: Row | None) -> str:
    values = report.figures[name]
    if not values:
        return BLANK
    low, high = values[0], values[-1]
    text = f"{low:.2f}" if high - low < 0.1 else f"{low:.2f}–{high:.2f}"
    found = _measured(ours, name, board) if ours is not None else None
    if found is None:
        return text
    measured, mark = found
    nearest = min(max(measured, low), high)
    return f"{text} ({measured:.2f}{mark}, {measured - nearest:+.2f})"


def _measured(row: Row, name: str, board: Leaderboard) -> tuple[float, str] | None:
    """Our number and its mark; of several populations one that the installed code computed."""
    if name == "mean":
        mean = board.mean(row)
        return None if mean is None else (mean, _mark(board, row, None))
    columns = [c for c, score in row.scores.items() if c.domain == name and score.complete]
    if not columns:
        return None
    column = min(columns, key=lambda c: board.is_stale(row, c))
    return row.scores[column].mean, _mark(board, row, column)


def _mark(board: Leaderboard, row: Row, column: ColumnKey | None) -> str:
    return STALE if board.is_stale(row, column) else ""
