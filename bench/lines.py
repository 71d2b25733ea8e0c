"""Leaderboards for other programs: one line per row and column, numbers in full precision."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from .cost_table import cost_lines
from .leaderboard import ColumnKey, Leaderboard, missing_columns
from .standing import Standings


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


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=1) + "\n"


def _lines(boards: Sequence[Leaderboard], where: Sequence[Standings]) -> list[dict[str, Any]]:
    each = where or [{}] * len(boards)
    return [line for b, w in zip(boards, each, strict=True) for line in _flat(b, w)]


def _flat(board: Leaderboard, where: Standings) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for row in board.rows.values():
        shared = {**board.key._asdict(), **row.key._asdict(), "source": row.source}
        cost = row.cost
        costs = {
            "params": cost.params if cost else None,
            "flops_episode": cost.flops_episode if cost else None,
            "flops_adapt": cost.flops_adapt if cost else None,
            "flops_published": cost.flops_published if cost else None,
            "flops_fft": cost.flops_fft if cost else None,
            "latency_ms": cost.latency_ms["episode"]["p50"] if cost else None,
            "device": cost.device if cost else None,
            "machine": row.machine if cost else None,
        }
        for column in board.columns:
            score = row.scores.get(column)
            standing = where.get((row.key, column))
            ends = standing.interval if standing else None
            twin = standing.twin if standing else None
            lines.append(
                {
                    **shared,
                    **column._asdict(),
                    "miou": None if score is None else score.mean,
                    "miou_low": None if ends is None else ends.low,
                    "miou_high": None if ends is None else ends.high,
                    "miou_sd_over_seeds": None if score is None else score.spread,
                    "rank": None if standing is None else standing.rank,
                    "tied_with_best": None if standing is None else standing.tied,
                    "points_over_twin": None if twin is None else twin.points,
                    "p_over_twin": None if twin is None else twin.p,
                    "seeds": "" if score is None else " ".join(map(str, sorted(score.mious))),
                    "reason": row.missing.get(column.domain, ""),
                    **costs,
                }
            )
        for domain in missing_columns(board):
            if domain in row.missing:
                empty = ColumnKey(domain, "absent", "", limited=False, episodes=0)
                lines.append(
                    {
                        **shared,
                        **empty._asdict(),
                        "miou": None,
                        "miou_low": None,
                        "miou_high": None,
                        "miou_sd_over_seeds": None,
                        "rank": None,
                        "tied_with_best": None,
                        "points_over_twin": None,
                        "p_over_twin": None,
                        "seeds": "",
                        "reason": row.missing[domain],
                        **costs,
                    }
                )
    return lines
