"""What a reader must know before believing a leaderboard: leakage, and rows that need a twin."""

from __future__ import annotations

import statistics

from cdfss_bench.datasets import DOMAINS

from .leaderboard import Leaderboard

TWIN = "@shuffled-support"


def guards(board: Leaderboard) -> list[str]:
    """Warnings about the rows of a board, a sentence each."""
    return [
        *_selected_on_targets(board),
        *_checkpoint_per_target(board),
        *_twins(board),
        *_overlaps(board),
    ]


def _selected_on_targets(board: Leaderboard) -> list[str]:
    labels = sorted({key.label for key in board.rows if "target" in key.selection})
    if not labels:
        return []
    return [f"selected on target data, ranked with nobody: {', '.join(labels)}"]


def _checkpoint_per_target(board: Leaderboard) -> list[str]:
    """Rows that differ in nothing but the checkpoint and answer for different domains."""
    alike: dict[tuple[str, ...], list[set[str]]] = {}
    for key, row in board.rows.items():
        if row.scores:
            same = (key.label, key.composition, key.backbone, key.weights, key.selection)
            alike.setdefault(same, []).append({column.domain for column in row.scores})
    return [
        f"{same[0]}: another checkpoint per target is another row each, without a mean"
        for same, domains in sorted(alike.items())
        if len(domains) > 1 and not set.intersection(*domains)
    ]


def _twins(board: Leaderboard) -> list[str]:
    """Methods that do no better with the right support than with a wrong one."""
    warnings: list[str] = []
    rows = {(key.label, key.backbone, key.weights_sha256): row for key, row in board.rows.items()}
    for (label, backbone, weights), row in sorted(rows.items()):
        twin = rows.get((f"{label}{TWIN}", backbone, weights))
        if twin is None:
            continue
        beaten = [
            column.domain
            for column, score in row.scores.items()
            if column in twin.scores and score.mean <= twin.scores[column].mean
        ]
        if beaten:
            warnings.append(
                f"{label} does not beat its shuffled-support twin on {', '.join(sorted(beaten))}: "
                "there it segments what is salient, not what was asked"
            )
    return warnings


def _overlaps(board: Leaderboard) -> list[str]:
    """Scores without the classes that are kinds of a source class, beside the full ones."""
    lines: list[str] = []
    for column in board.columns:
        name = column.domain.partition("[")[0]
        known = DOMAINS.card(name).source_overlap if name in DOMAINS else {}
        seen = {other for others in known.values() for other in others}
        told: list[str] = []
        left_out = 0
        for key, row in board.rows.items():
            score = row.scores.get(column)
            if score is None:
                continue
            ids = [c for c in score.per_class if score.classes.get(c, "") not in seen]
            left_out = len(score.per_class) - len(ids)
            if ids and left_out:
                new = statistics.fmean(x for c in ids for x in score.per_class[c])
                told.append(f"{key.label} {new:.2f} ({new - score.mean:+.2f})")
        if told:
            lines.append(
                f"{column.domain} without the {left_out} classes that are kinds of a source class: "
                + ", ".join(told)
            )
    return lines
