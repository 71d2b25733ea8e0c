"""Leaderboards for other programs: one line per row and column, numbers in full precision."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, cast

from ..comparison.leaderboard import ColumnKey, Leaderboard, missing_columns
from ..comparison.measures import Measured, Measures
from ..comparison.ranking import Standing, Standings
from ..comparison.rows import Score
from .columns import only_keys
from .number_format import is_steady

_NEXT = " | "
"""Between the notes of one cell of a CSV file."""


def as_csv(lines: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> str:
    """Lines with the values of some columns, of all if none is named; nothing without a line."""
    out, rows = io.StringIO(), only_keys(lines, columns)
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Notes side by side, and what has parts as JSON."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return _NEXT.join(cast("list[str]", value)) if isinstance(value, list) else value


def as_json(lines: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> str:
    """The same lines as JSON objects."""
    return json.dumps(only_keys(lines, columns), indent=1) + "\n"


def score_lines(
    boards: Sequence[Leaderboard],
    where: Sequence[Standings] = (),
    measured: Sequence[Measures] = (),
) -> list[dict[str, Any]]:
    """One line per row and column, numbers in full precision.

    Args:
        boards: of mIoU.
        where: standings of each; without them there are no ranks, ties and tests.
        measured: the other metrics of each; without them they are empty.
    """
    none = [{}] * len(boards)
    each = zip(boards, where or none, measured or none, strict=True)
    return [line for board, w, m in each for line in _flat(board, w, m)]


def class_lines(
    boards: Sequence[Leaderboard], measured: Sequence[Measures]
) -> list[dict[str, Any]]:
    """One line per row, column and class."""
    return [
        {
            **board.key._asdict(),
            **key._asdict(),
            **column._asdict(),
            "class_id": class_id,
            "class": row.scores[column].classes.get(class_id, str(class_id)),
            "iou": iou,
            "dice": dice,
            "seeds": " ".join(map(str, sorted(row.scores[column].mious))),
            "code": row.scores[column].state,
        }
        for board, found in zip(boards, measured, strict=True)
        for key, row in board.rows.items()
        for column in board.columns
        if (key, column) in found
        for class_id, (iou, dice) in found[key, column].classes.items()
    ]


def _flat(board: Leaderboard, where: Standings, found: Measures) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for row in (row for section in board.sections() for row in section.rows):
        shared = {
            **board.key._asdict(),
            **row.key._asdict(),
            "control": row.is_control,
            "source": row.source,
            "weights_kind": row.weights_kind,
            "pretraining": row.pretraining,
            "input_size": "+".join(str(seen) for seen in sorted({s for s, _ in row.sizes})),
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
            score = row.scores.get(column)
            measured = _measured(score, where.get((row.key, column)))
            further = _further(score, found.get((row.key, column)))
            reason = row.missing.get(column.domain, "")
            told = {**column._asdict(), **measured, **further}
            lines.append({**shared, **told, "reason": reason, **costs})
        for domain in missing_columns(board):
            if domain in row.missing:
                empty = ColumnKey(domain, "absent", "", limited=False, episodes=0)
                measured, reason = _measured(None, None), row.missing[domain]
                told = {**empty._asdict(), **measured, **_further(None, None)}
                lines.append({**shared, **told, "reason": reason, **costs})
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


def _further(score: Score | None, found: Measured | None) -> dict[str, Any]:
    """All metrics but mIoU; the same keys where nothing is known."""
    values = found.values if found else {}
    ends = found.dice_interval if found else None
    edges = found.boundary if found else None
    names = score.classes if score else {}
    return {
        "dice": values.get("dice"),
        "dice_low": ends.low if ends else None,
        "dice_high": ends.high if ends else None,
        "fb_iou": values.get("fb-iou"),
        "macro_iou": values.get("macro-iou"),
        "macro_dice": values.get("macro-dice"),
        "per_class": {
            names.get(class_id, str(class_id)): {"iou": iou, "dice": dice}
            for class_id, (iou, dice) in (found.classes if found else {}).items()
        },
        "hd95_mean": edges.hd95.mean if edges else None,
        "hd95_median": edges.hd95.median if edges else None,
        "hd95_undefined": edges.hd95.undefined if edges else None,
        "nsd_tolerance": edges.nsd_tolerance if edges else None,
        "nsd_mean": edges.nsd.mean if edges else None,
        "nsd_median": edges.nsd.median if edges else None,
        "boundary_iou_mean": edges.boundary_iou.mean if edges else None,
        "boundary_iou_median": edges.boundary_iou.median if edges else None,
        "nsd_undefined": edges.nsd.undefined if edges else None,
    }
