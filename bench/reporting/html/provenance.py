"""Where each number of the page comes from: what a click on it shows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...comparison.current import State, states
from ...records.results import RunResult
from ...records.schema import RunRecord
from ..number_format import milliseconds

_MOST_NOTES = 5
"""Of a record, in its dialog; `report --notes` has all."""
_STATES: dict[State, str] = {
    "current": "current", "stale": "older than the installed", "unknown": "not installed here",
}  # fmt: skip


def origins(said: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The provenance of records with every text once: most stand in many records."""
    keys = list(dict.fromkeys(key for values in said.values() for key in values))
    texts = {text: i for i, text in enumerate({v: 0 for vs in said.values() for v in vs.values()})}
    cells = {
        cell: [texts[values[key]] if key in values else -1 for key in keys]
        for cell, values in said.items()
    }
    return {"keys": keys, "texts": list(texts), "cells": cells}


def provenance(found: Iterable[RunResult]) -> dict[str, dict[str, str]]:
    """What is shown of a record when its number is clicked, by the first half of its cell id."""
    result: dict[str, dict[str, str]] = {}
    state = states()
    for answer in found:
        record = answer.record
        if record.metrics is None:
            continue
        environment = record.environment
        git = environment.get("git") or {}
        values = {
            "method": f"{record.name} = {record.method.composition}",
            "backbone": record.method.backbone,
            "adapts": record.method.adaptation,
            "domain": record.domain.title,
            "population": record.domain.profile,
            "seed": str(record.episodes.seed),
            "fingerprint of the data": record.domain.fingerprint,
            "episodes": f"{record.episodes.count}, {record.episodes.shots}-shot, "
            f"protocol {record.episodes.protocol}",
            "manifest": record.episodes.sha256,
            "rows": record.episodes.rows_sha256,
            "mIoU": f"{record.metrics.miou:.4f}",
            "FB-IoU": f"{record.metrics.fb_iou:.4f}",
            "mean of episodes": f"{record.metrics.macro_iou:.4f}",
            "cost": _cost(record),
            "weights": record.weights.description,
            "backbone file": f"{record.weights.pretrained} {record.weights.pretrained_sha256}",
            "checkpoint": f"{record.weights.checkpoint} {record.weights.checkpoint_sha256}",
            "selection": record.weights.selection,
            "evaluator": f"version {record.evaluator.version}, {record.evaluator.precision}",
            "code": f"{record.method.code[:16]}, {_STATES[state(record)]}, "
            f"commit {git.get('commit', 'unknown')}",
            "notes": "; ".join(record.notes[:_MOST_NOTES]) + _more(record.notes),
            "machine": f"{environment.get('device', '')} {environment.get('cpu', '')}".strip(),
            "command": record.command,
            "finished": record.finished,
            "cell": record.cell,
        }
        result[record.cell[:16]] = {key: value for key, value in values.items() if value.strip()}
    return result


def _more(notes: Sequence[str]) -> str:
    return f"; and {len(notes) - _MOST_NOTES} more" if len(notes) > _MOST_NOTES else ""


def _cost(record: RunRecord) -> str:
    cost = record.cost
    if cost is None:
        return ""
    published = "" if cost.flops_published is None else f"{cost.flops_published:,} as published"
    transforms = f"{cost.flops_fft:,} in transforms besides" if cost.flops_fft else ""
    beside = ", ".join(filter(None, [published, transforms]))
    uncounted = f"; not counted: {', '.join(cost.uncounted)}" if cost.uncounted else ""
    return (
        f"{cost.params:,} parameters, {cost.flops_episode:,} operations"
        f"{f' ({beside})' if beside else ''} and "
        f"{milliseconds(cost)} ms per episode on {cost.device}; {cost.probe}"
        f"{uncounted}"
    )
