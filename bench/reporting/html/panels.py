"""Single episodes on the page: support, query, truth and prediction, within a number of bytes."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdfss_bench.errors import UserError

from ...comparison.leaderboard import Leaderboard
from ...comparison.rows import Row
from ...records.results import RunResult
from ..qualitative.examples import Layer, Panel
from .rendering import render

Source = Callable[[RunResult], Sequence[Panel]]
"""Draws the panels of a record; raises a UserError that says why it cannot."""


def section(
    board: Leaderboard,
    rows: Sequence[Row],
    found: Mapping[str, RunResult],
    source: Source,
    *,
    budget: int,
    prefix: str,
) -> tuple[dict[str, Any], int]:
    """The panels of a leaderboard: rows in the given order, as long as all of a row's fit.

    Args:
        board: whose columns are shown; of several seeds the lowest.
        rows: in the order in which bytes are given to them.
        found: answers by cell.
        source: of the pictures.
        budget: bytes that the section may have.
        prefix: of the ids of this board's pictures.

    Returns:
        What `episodes.html.j2` shows, and how many bytes that is.
    """
    domains: dict[str, list[Any]] = {column.domain: [] for column in board.columns}
    pictures: dict[str, str] = {}
    reasons: dict[str, list[str]] = {}
    labels = [row.key.label for row in rows]
    fitting = _measured(domains, pictures, reasons, labels)
    for count, row in enumerate(rows, 1):
        for column in board.columns:
            score = row.scores.get(column)
            if score is None:
                continue
            try:
                panels = source(found[score.cells[min(score.cells)]])
            except UserError as error:
                reasons.setdefault(error.problem, []).append(f"{row.key.label} on {column.domain}")
            else:
                figures = [_figure(panel, prefix, pictures) for panel in panels]
                domains[column.domain].append((row.key.label, figures))
        wider = _measured(domains, pictures, reasons, labels[count:])
        if wider[1] > budget:
            break
        fitting = wider
    return fitting


def _measured(
    domains: Mapping[str, Sequence[Any]],
    pictures: Mapping[str, str],
    reasons: Mapping[str, Sequence[str]],
    left_out: Sequence[str],
) -> tuple[dict[str, Any], int]:
    """A copy of all that for the template, and the bytes that it fills there."""
    notes = [f"no pictures of {', '.join(rows)}: {problem}" for problem, rows in reasons.items()]
    if left_out:
        first = "left out, for the page to stay below 2 MB; better rows come first: "
        notes.append(first + ", ".join(left_out))
    episodes = {
        "notes": notes,
        "pictures": dict(pictures),
        "domains": {domain: list(rows) for domain, rows in domains.items() if rows},
    }
    return episodes, len(render("episodes.html.j2", episodes=episodes).encode())


def _figure(panel: Panel, prefix: str, pictures: dict[str, str]) -> dict[str, Any]:
    """What the template shows of an episode; its photographs are added to `pictures`, once each."""

    def tile(what: str, layer: Layer, mask: bytes | None) -> dict[str, str]:
        name = f"{prefix}{hashlib.sha256(layer.picture).hexdigest()[:12]}"
        if name not in pictures:
            pictures[name] = _data(layer.picture, "jpeg")
        over = "" if mask is None else _data(mask, "png")
        return {"label": f"{what}: {layer.name}", "what": what, "picture": name, "mask": over}

    supports = [tile("support", layer, layer.mask) for layer in panel.supports]
    query = [
        tile("query", panel.query, None),
        tile("truth", panel.query, panel.query.mask),
        tile("prediction", panel.query, panel.prediction),
    ]
    again = "" if abs(panel.found - panel.recorded) < 0.005 else f", here {panel.found:.2f}"
    return {
        "strips": [supports + query] if len(supports) == 1 else [supports, query],
        "role": panel.example.role,
        "iou": f"{panel.recorded:.2f}{again}",
        "about": f"{panel.class_name}, episode {panel.example.row.index}",
    }


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
