"""Leaderboards for other programs: one line per row and column, numbers in full precision."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ..comparison.leaderboard import ColumnKey, Leaderboard, Score, missing_columns
from ..comparison.ranking import Standing, Standings
from .cost_table import cost_lines
from .number_format import is_steady


def as_csv(boards: Sequence[Leaderboard], where: Sequence[Standings] = ()) -> str:
    """One line per row and column, numbers in full precision."""
    return _csv(_lines(boards, where))


def as_json(boards: Sequence[Leaderboard], where: Sequence[Standings] = ()) -> str:
    """The same lines as JSON objects."""
    return _json(_lines(boards, where))


def cost_as_csv(boards: Sequence[Leaderboard]) -> str:
    """One line per row, with everything that its cost is known to be."""
    return _csv([line for board in boards for line in cost_lines(board)])


def cost_as_json(boards: Sequence[Leaderboard]) -> str:
    """The same lines as JSON objects."""
    return _json([line for board in boards for line in cost_lines(board)])


_NEXT = " | "
"""Between the notes of one cell of a CSV file."""


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "notes": _NEXT.join(row["notes"])} for row in rows)
    return out.getvalue()


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=1) + "\n"


def _lines(boards: Sequence[Leaderboard], where: Sequence[Standings]) -> list[dict[str, Any]]:
    each = where or [{}] * len(boards)
    return [line for b, w in zip(boards, each, strict=True) for line in _flat(b, w)]


def _flat(board: Leaderboard, where: Standings) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for row in board.rows.values():
        shared = {
            **board.key._asdict(),
            **row.key._asdict(),
            "source": row.source,
            "weights_kind": row.weights_kind,
        }
        cost = row.cost
        costs = {
            "params": cost.params if cost else None,
            "flops_episode": cost.flops_episode if cost else None,
            "flops_adapt": cost.flops_adapt if cost else None,
            "flops_published": cost.flops_published if cost else None,
            "flops_fft": cost.flops_fft if cost else None,
            "latency_ms": cost.latency_ms["episode"]["p50"] if cost else None,
            "latency_stable": is_steady(cost) if cost else None,
            "device": cost.device if cost else None,
            "machine": row.machine if cost else None,
        }
        for column in board.columns:
            measured = _measured(row.scores.get(column), where.get((row.key, column)))
            reason = row.missing.get(column.domain, "")
            lines.append({**shared, **column._asdict(), **measured, "reason": reason, **costs})
        for domain in missing_columns(board):
            if domain in row.missing:
                empty = ColumnKey(domain, "absent", "", limited=False, episodes=0)
                measured, reason = _measured(None, None), row.missing[domain]
                lines.append({**shared, **empty._asdict(), **measured, "reason": reason, **costs})
    return lines


def _measured(score: Score | None, standing: Standing | None) -> dict[str, Any]:
    """What is known of a row in a column; the same keys where nothing is."""
    ends = standing.interval if standing else None
    control = standing.control if standing else None
    return {
        "miou": score.mean if score else None,
        "miou_low": ends.low if ends else None,
        "miou_high": ends.high if ends else None,
        "miou_sd_over_seeds": score.spread if score else None,
        "rank": standing.rank if standing else None,
        "tied_with_best": standing.tied if standing else None,
        "points_over_control": control.points if control else None,
        "p_over_control": control.p if control else None,
        "detectable_over_control": control.detectable if control else None,
        "against_control": control.finding if control else None,
        "seeds": " ".join(map(str, sorted(score.mious))) if score else "",
        "code": score.state if score else "",
        "notes": list(score.notes) if score else [],
    }
