"""What a reader must know before believing a leaderboard: leakage, and rows that need a twin."""

from __future__ import annotations

import statistics

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.datasets.domain import COPY

from .leaderboard import Leaderboard, Row
from .standing import Standings
from .twins import twins_of


def guards(board: Leaderboard, where: Standings) -> list[str]:
    """Warnings about the rows of a board, a sentence each.

    Args:
        board: what is shown.
        where: with the tests against the twins; may be empty.
    """
    return [
        *_selected_on_targets(board),
        *_checkpoint_per_target(board),
        *_twins(board, where),
        *_overlaps(board),
        *_copies(board),
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


def _twins(board: Leaderboard, where: Standings) -> list[str]:
    """Methods that are not shown to do better with the right support than with a wrong one."""
    return [
        f"{row.key.label} does not beat its shuffled-support twin on {', '.join(domains)}: "
        "there it segments what is salient, not what was asked"
        for row, _ in twins_of(board)
        if (domains := unbeaten(board, row, where))
    ]


def unbeaten(board: Leaderboard, row: Row, where: Standings) -> list[str] | None:
    """Where a row does not beat its twin, or None if there is no twin to beat.

    The sign-flip test decides, or the plain means where rows were not read.
    """
    twin = next((twin for own, twin in twins_of(board) if own is row), None)
    shared = (
        [] if twin is None else [c for c in board.columns if c in row.scores.keys() & twin.scores]
    )
    if twin is None or not shared:
        return None
    lost: list[str] = []
    for column in shared:
        standing = where.get((row.key, column))
        tested = standing.twin if standing else None
        if tested is not None and not tested.is_beaten:
            lost.append(f"{column.domain} ({tested.points:+.2f}, p = {tested.p:.2g})")
        elif tested is None and row.scores[column].mean <= twin.scores[column].mean:
            lost.append(column.domain)
    return lost


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


def _copies(board: Leaderboard) -> list[str]:
    """Queries that were shown their own picture as a support, under another name."""
    lines: list[str] = []
    for column in board.columns:
        pairs = sorted(note.removeprefix(COPY) for note in board.copies.get(column, ()))
        if pairs:
            queries = len({pair.partition(" = ")[0] for pair in pairs})
            more = f" and {len(pairs) - 2} more" if len(pairs) > 2 else ""
            lines.append(
                f"{column.domain}: {queries} {'query is' if queries == 1 else 'queries are'} shown "
                f"their own picture as a support under another name: {'; '.join(pairs[:2])}{more}"
            )
    return lines
