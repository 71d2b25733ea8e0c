"""What papers report, beside what was measured here: never in the same column."""

import re
from collections.abc import Sequence

from ..comparison.current import STALE, STALE_LEGEND
from ..comparison.leaderboard import ColumnKey, Leaderboard
from ..comparison.published import COMPARABILITY, Report
from ..comparison.rows import Row
from .text_table import BLANK, STACKED, TextTable

_BACKBONES = {"resnet-50": "resnet50", "vit-b": "vit-b"}


def published_table(board: Leaderboard, reports: Sequence[Report]) -> TextTable:
    """The published figures of a board's shots, with ours and the difference where we have one."""
    wanted = [report for report in reports if report.shots == board.key.shots]
    fields = list(dict.fromkeys(name for report in wanted for name in report.figures))
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
                    *(_cell(report, name, board, ours) for name in fields),
                    ", ".join(COMPARABILITY[word] for word in report.comparability),
                ]
            )
            sources |= dict.fromkeys(report.sources)
    return TextTable(
        title=f"published, {board.key.shots}-shot (%), and ours with the difference",
        headers=["method", "backbone", *fields, "comparability"],
        rows=rows,
        numeric=frozenset(range(2, 2 + len(fields))),
        notes=[
            "a range: sources disagree; in brackets: measured here, difference to the nearer end",
            "comparability: "
            + ", ".join(f"{word} = {long}" for long, word in COMPARABILITY.items()),
            "published figures differ in data, episodes and checkpoint selection: docs/protocol.md",
            *_bare(board),
            *([STALE_LEGEND] if any(STALE in cell for cells in rows for cell in cells) else []),
            *(f"source: {source}" for source in sources),
        ],
        sections=sections,
        apart=_apart(rows),
        secondary=["comparability", STACKED],
        whole="report --against published --wide",
    )


def _apart(rows: Sequence[Sequence[str]]) -> dict[str, dict[int, str]]:
    """Backbones of figures of one name, and the conditions of those on one backbone, by row."""
    found: dict[str, dict[int, str]] = {"backbone": {}, "comparability": {}}
    for at, (name, backbone, *_, conditions) in enumerate(rows):
        same = [other for other in rows if other[0] == name]
        if len({other[1] for other in same}) > 1:
            found["backbone"][at] = backbone
        if sum(other[1] == backbone for other in same) > 1:
            found["comparability"][at] = conditions
    return found


def _ours(report: Report, board: Leaderboard) -> Row | None:
    if board.key.suite != "cdfss":
        return None
    name = re.sub(r"[^a-z0-9+-]", "", report.method.lower())
    backbone = _BACKBONES.get(report.backbone.lower(), report.backbone.lower())
    for key, row in board.rows.items():
        if (key.name.lower(), key.backbone) == (name, backbone) and not (
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
