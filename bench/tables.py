"""A leaderboard as cells of text, and the four shapes in which it leaves the program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .leaderboard import ColumnKey, Leaderboard, Row, missing_columns, seeds_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .compare import Comparison

BLANK = "–"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of finished text.

    Attributes:
        title: what it shows.
        headers: of the columns.
        rows: of cells.
        numeric: indices of right-aligned columns.
        notes: below the table.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int]
    notes: Sequence[str] = field(default_factory=tuple)


def text_table(board: Leaderboard) -> TextTable:
    """The leaderboard with its reasons for blanks as notes."""
    extra = missing_columns(board)
    names = [_column_name(column, board.columns) for column in board.columns]
    headers = ["method", "backbone", "weights", "adapts", *names, *extra, "mean"]
    first_number = 4
    headers += ["params", "GFLOP", "ms", "on"]
    rows = [_cells(row, board, extra) for row in board.rows.values()]
    return TextTable(
        title=_title(board),
        headers=headers,
        rows=rows,
        numeric=frozenset(range(first_number, len(headers) - 1)),
        notes=_notes(board),
    )


def _title(board: Leaderboard) -> str:
    key = board.key
    suite = {"mini": "mini suite", "extra": "further domains"}.get(key.suite, "CD-FSS")
    seeds = seeds_of(list(board.rows.values()))
    parts = [f"{suite}, {key.shots}-shot mIoU (%)", f"protocol {key.protocol}"]
    if seeds:
        parts.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    parts.append(f"evaluator {key.evaluator}")
    if key.precision != "fp32":
        parts.append(key.precision)
    return " · ".join(parts)


def _column_name(column: ColumnKey, columns: Sequence[ColumnKey]) -> str:
    same = [other for other in columns if other.domain == column.domain]
    mark = "" if _is_plain(column) else "*"
    if len(same) == 1:
        return f"{column.domain}{mark}"
    return f"{column.domain}{mark} {column.fingerprint[:4]}/{column.episodes}"


def _is_plain(column: ColumnKey) -> bool:
    return not column.limited and not column.profile.startswith(("partial", "unlisted", "unknown"))


def _cells(row: Row, board: Leaderboard, extra: Sequence[str]) -> list[str]:
    key = row.key
    cells = [key.label, key.backbone or BLANK, _weights(row), key.adaptation]
    for column in board.columns:
        score = row.scores.get(column)
        if score is None:
            cells.append(BLANK)
        elif score.spread is None:
            cells.append(f"{score.mean:.2f}")
        else:
            cells.append(f"{score.mean:.2f} ±{score.spread:.2f}")
    cells += [BLANK] * len(extra)
    mean = board.mean(row)
    cells.append(BLANK if mean is None else f"{mean:.2f}")
    if row.cost is None:
        return [*cells, BLANK, BLANK, BLANK, BLANK]
    cost = row.cost
    return [
        *cells,
        _count(cost.params),
        f"{cost.flops_episode / 1e9:.2f}",
        f"{cost.latency_ms['episode']['p50']:.1f}",
        cost.device,
    ]


def _weights(row: Row) -> str:
    mark = {"source-val": "", "last": "", "none": ""}.get(row.key.selection)
    return row.key.weights + (f" ({row.key.selection})" if mark is None else "")


def _count(number: int) -> str:
    if number >= 1_000_000:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.0f} k" if number else "0"


def _notes(board: Leaderboard) -> list[str]:
    notes = [
        f"* {column.domain}: {column.profile}"
        + (f", first {column.episodes} episodes" if column.limited else "")
        for column in board.columns
        if not _is_plain(column)
    ]
    notes += _reasons(board)
    if any(board.mean(row) is None and row.scores for row in board.rows.values()):
        notes.append(f"{BLANK} no mean where a domain is missing, partial or cut short")
    notes.append("GFLOP and ms per episode, nothing cached, batch 1; a multiply-add counts 2")
    return notes


def _reasons(board: Leaderboard) -> list[str]:
    """One line per reason, with everybody it concerns."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for row in board.rows.values():
        for domain, reason in row.missing.items():
            concerned.setdefault((domain, reason), []).append(row.key.label)
    return [
        f"{BLANK} {domain}: {reason} ({', '.join(labels)})"
        for (domain, reason), labels in sorted(concerned.items())
    ]


def comparison_table(comparison: Comparison) -> TextTable:
    """Two methods side by side, a line per domain."""
    where = comparison.field
    headers = ["domain", "seeds", "A", "B", "A - B", "95 % interval", "p (Holm)"]
    headers += ["wins", "ties", "losses", "can see", "verdict"]
    rows = [
        [
            each.domain,
            ", ".join(map(str, each.seeds)),
            f"{each.a:.2f}",
            f"{each.b:.2f}",
            f"{each.a - each.b:+.2f}" + ("" if each.spread is None else f" ±{each.spread:.2f}"),
            BLANK
            if each.interval is None
            else f"{each.interval.low:+.2f} to {each.interval.high:+.2f}",
            f"{each.p_holm:.4f}",
            *map(str, (each.wins, each.ties, each.losses)),
            BLANK if each.detectable is None else f"{each.detectable:.2f}",
            each.verdict,
        ]
        for each in comparison.differences
    ]
    notes = [
        "mIoU in %, paired by query image; wins, ties and losses count episodes",
        "can see: points of difference that this many episodes find in four cases of five",
        f"a claim needs p <= 0.05 and {comparison.minimum:g} points",
    ]
    if any(each.interval is None for each in comparison.differences):
        notes.append(f"{BLANK} no interval where a class has fewer than 5 query images")
    return TextTable(
        title=(
            f"A = {comparison.a}, B = {comparison.b} · {where.shots}-shot · "
            f"protocol {where.protocol} · evaluator {where.evaluator}"
        ),
        headers=headers,
        rows=rows,
        numeric=frozenset(range(2, 11)),
        notes=notes,
    )


def as_markdown(tables: Sequence[TextTable]) -> str:
    """GitHub tables."""
    parts: list[str] = []
    for table in tables:
        rule = ["---:" if i in table.numeric else "---" for i in range(len(table.headers))]
        lines = [f"**{table.title}**", ""]
        for cells in (table.headers, rule, *table.rows):
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines += ["", *(f"{note}  " for note in table.notes)]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts) + "\n"


def as_csv(boards: Sequence[Leaderboard]) -> str:
    """One line per row and column, numbers in full precision."""
    out = io.StringIO()
    rows = [line for board in boards for line in _flat(board)]
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def as_json(boards: Sequence[Leaderboard]) -> str:
    """The same lines as JSON objects."""
    return json.dumps([line for board in boards for line in _flat(board)], indent=1) + "\n"


def _flat(board: Leaderboard) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for row in board.rows.values():
        shared = {**board.key._asdict(), **row.key._asdict()}
        cost = row.cost
        costs = {
            "params": cost.params if cost else None,
            "flops_episode": cost.flops_episode if cost else None,
            "latency_ms": cost.latency_ms["episode"]["p50"] if cost else None,
            "device": cost.device if cost else None,
        }
        for column in board.columns:
            score = row.scores.get(column)
            lines.append(
                {
                    **shared,
                    **column._asdict(),
                    "miou": None if score is None else score.mean,
                    "miou_sd_over_seeds": None if score is None else score.spread,
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
                        "miou_sd_over_seeds": None,
                        "seeds": "",
                        "reason": row.missing[domain],
                        **costs,
                    }
                )
    return lines


def as_rich(table: TextTable) -> RenderableType:
    """For a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, header in enumerate(table.headers):
        is_number = index in table.numeric
        drawn.add_column(header, justify="right" if is_number else "left", no_wrap=index == 0)
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return Group(drawn, *(Text(note, style="dim") for note in table.notes))
