"""Single episodes on the page: support, query, truth and prediction, within a number of bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from html import escape

from cdfss_bench.errors import UserError

from ...comparison.leaderboard import Leaderboard, Row
from ...records.results import Answer
from ..qualitative.examples import Panel

Source = Callable[[Answer], Sequence[Panel]]
"""Draws the panels of a record; raises a UserError that says why it cannot."""


def section(
    board: Leaderboard,
    rows: Sequence[Row],
    found: Mapping[str, Answer],
    source: Source,
    *,
    budget: int,
    prefix: str,
) -> str:
    """The panels of a leaderboard: rows in the given order, as long as all of a row's fit.

    Args:
        board: whose columns are shown; of several seeds the lowest.
        rows: in the order in which bytes are given to them.
        found: answers by cell.
        source: of the pictures.
        budget: bytes that the section may have.
        prefix: of the ids of this board's pictures.
    """
    drawn: dict[str, list[str]] = {column.domain: [] for column in board.columns}
    store = _Store(prefix)
    reasons: dict[str, list[str]] = {}
    left_out: list[str] = []
    used = len(_HEAD) + 500 * len(drawn) + 2_000
    for row in rows:
        if left_out:
            left_out.append(row.key.label)
            continue
        kept = store.copy()
        figures: list[tuple[str, str]] = []
        for column in board.columns:
            score = row.scores.get(column)
            if score is None:
                continue
            try:
                panels = source(found[score.cells[min(score.cells)]])
            except UserError as error:
                reasons.setdefault(error.problem, []).append(f"{row.key.label} on {column.domain}")
                continue
            text = "".join(_figure(panel, kept) for panel in panels)
            name = escape(row.key.label)
            figures.append((column.domain, f'<h4>{name}</h4><div class="triple">{text}</div>'))
        size = sum(len(text.encode()) for _, text in figures) + kept.size - store.size
        if used + size > budget:
            left_out.append(row.key.label)
            continue
        used += size
        store = kept
        for domain, text in figures:
            drawn[domain].append(text)
    shown = {domain: texts for domain, texts in drawn.items() if texts}
    notes = [
        f"no pictures of {', '.join(concerned)}: {reason}" for reason, concerned in reasons.items()
    ]
    if left_out:
        notes.append(
            "left out, for the page to stay below 2 MB; better rows come first: "
            + ", ".join(left_out)
        )
    said = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    if not shown:
        return f"<h3>Single episodes</h3>{said}" if notes else ""
    blocks = "".join(
        f"<details{' open' if place == 0 else ''}><summary>{escape(domain)}</summary>"
        f"{''.join(texts)}</details>"
        for place, (domain, texts) in enumerate(shown.items())
    )
    return f"{_HEAD}{said}{store.html()}{blocks}"


_HEAD = (
    "<h3>Single episodes</h3>"
    '<p class="note">The best, the median and the worst episode of each row by its recorded IoU, '
    "ties by number; of several seeds the lowest. The masks were computed again for this page: "
    '<span class="truth">truth</span>, <span class="prediction">prediction</span>.</p>'
)


class _Store:
    """Every photograph once, however often it is shown."""

    def __init__(self, prefix: str):
        self.prefix = prefix
        self._parts: dict[str, str] = {}
        self.size = 0

    def copy(self) -> _Store:
        other = _Store(self.prefix)
        other._parts, other.size = dict(self._parts), self.size
        return other

    def id(self, picture: bytes) -> str:
        name = f"{self.prefix}{hashlib.sha256(picture).hexdigest()[:12]}"
        if name not in self._parts:
            text = f'<image id="{name}" width="1" height="1" href="{_data(picture, "jpeg")}"/>'
            self._parts[name] = text
            self.size += len(text)
        return name

    def html(self) -> str:
        return (
            '<svg class="store" width="0" height="0" aria-hidden="true"><defs>'
            f"{''.join(self._parts.values())}</defs></svg>"
        )


def _figure(panel: Panel, store: _Store) -> str:
    role, row = panel.example
    supports = "".join(
        _tile(store.id(layer.picture), layer.mask, "support", layer.name)
        for layer in panel.supports
    )
    query = store.id(panel.query.picture)
    name = panel.query.name
    others = (
        _tile(query, None, "query", name)
        + _tile(query, panel.query.mask, "truth", name)
        + _tile(query, panel.prediction, "prediction", name)
    )
    again = "" if abs(panel.found - panel.recorded) < 0.005 else f", here {panel.found:.2f}"
    one = len(panel.supports) == 1
    strip = (
        f'<div class="strip">{supports}{others}</div>'
        if one
        else f'<div class="strip many">{supports}</div><div class="strip">{others}</div>'
    )
    return (
        f'<figure class="panel">{strip}<figcaption><b>{role}</b> IoU {panel.recorded:.2f}{again} '
        f"<small>{escape(panel.class_name)}, episode {row.index}</small></figcaption></figure>"
    )


def _tile(picture: str, mask: bytes | None, what: str, name: str) -> str:
    over = "" if mask is None else f'<image width="1" height="1" href="{_data(mask, "png")}"/>'
    said = escape(f"{what}: {name}")
    return (
        f'<div class="tile"><svg viewBox="0 0 1 1" role="img" aria-label="{said}">'
        f'<title>{said}</title><use href="#{picture}"/>{over}</svg><span>{what}</span></div>'
    )


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
