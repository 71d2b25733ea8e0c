"""Single episodes on the page: support, query, truth and prediction, within a number of bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cdfss_bench.errors import UserError

from ...comparison.leaderboard import Leaderboard, Row
from ...records.results import Answer
from ..qualitative.examples import Layer, Panel
from .rendering import render

Source = Callable[[Answer], Sequence[Panel]]
"""Draws the panels of a record; raises a UserError that says why it cannot."""


class _Drawn(NamedTuple):
    """Figures of a row by domain, and why there are none of the others."""

    label: str
    figures: Mapping[str, Sequence[Mapping[str, Any]]]
    problems: Mapping[str, str]


def section(
    board: Leaderboard,
    rows: Sequence[Row],
    found: Mapping[str, Answer],
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
    drawn: list[_Drawn] = []
    labels = [row.key.label for row in rows]
    fitting, size = _measured(board, drawn, labels)
    for count, row in enumerate(rows, 1):
        drawn.append(_drawn(board, row, found, source, prefix))
        wider, wider_size = _measured(board, drawn, labels[count:])
        if wider_size > budget:
            break
        fitting, size = wider, wider_size
    return fitting, size


def _drawn(
    board: Leaderboard, row: Row, found: Mapping[str, Answer], source: Source, prefix: str
) -> _Drawn:
    drawn = _Drawn(row.key.label, figures := {}, problems := {})
    for column in board.columns:
        score = row.scores.get(column)
        if score is None:
            continue
        try:
            panels = source(found[score.cells[min(score.cells)]])
        except UserError as error:
            problems[column.domain] = error.problem
        else:
            figures[column.domain] = [_figure(panel, prefix) for panel in panels]
    return drawn


def _measured(
    board: Leaderboard, drawn: Sequence[_Drawn], left_out: Sequence[str]
) -> tuple[dict[str, Any], int]:
    """What the template shows of these rows, and its bytes."""
    domains = {
        column.domain: [
            (row.label, row.figures[column.domain]) for row in drawn if column.domain in row.figures
        ]
        for column in board.columns
    }
    reasons: dict[str, list[str]] = {}
    for row in drawn:
        for domain, problem in row.problems.items():
            reasons.setdefault(problem, []).append(f"{row.label} on {domain}")
    notes = [f"no pictures of {', '.join(rows)}: {problem}" for problem, rows in reasons.items()]
    if left_out:
        first = "left out, for the page to stay below 2 MB; better rows come first: "
        notes.append(first + ", ".join(left_out))
    tiles = [
        tile
        for row in drawn
        for figures in row.figures.values()
        for figure in figures
        for strip in figure["strips"]
        for tile in strip
    ]
    episodes = {
        "notes": notes,
        "pictures": {tile["id"]: tile["picture"] for tile in tiles},
        "domains": {domain: shown for domain, shown in domains.items() if shown},
    }
    return episodes, len(render("episodes.html.j2", episodes=episodes).encode())


def _figure(panel: Panel, prefix: str) -> dict[str, Any]:
    def tile(what: str, layer: Layer, mask: bytes | None) -> dict[str, str]:
        return {
            "what": what,
            "name": layer.name,
            # Every photograph stands on the page once, however often it is shown.
            "id": f"{prefix}{hashlib.sha256(layer.picture).hexdigest()[:12]}",
            "picture": _data(layer.picture, "jpeg"),
            "mask": "" if mask is None else _data(mask, "png"),
        }

    supports = [tile("support", layer, layer.mask) for layer in panel.supports]
    query = [
        tile("query", panel.query, None),
        tile("truth", panel.query, panel.query.mask),
        tile("prediction", panel.query, panel.prediction),
    ]
    return {
        "strips": [supports + query] if len(supports) == 1 else [supports, query],
        "role": panel.example.role,
        "episode": panel.example.row.index,
        "class_name": panel.class_name,
        "recorded": f"{panel.recorded:.2f}",
        "found": None if abs(panel.found - panel.recorded) < 0.005 else f"{panel.found:.2f}",
    }


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
