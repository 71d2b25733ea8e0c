"""A leaderboard as cells of text, and the four shapes in which it leaves the program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .guards import guards
from .leaderboard import ColumnKey, Leaderboard, Row, Score, missing_columns, seeds_of
from .standing import Standings

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
        sections: title by the index of the row before which it stands.
        marks: `best`, `second` or `tied` (not distinguishable from the best), by row and column.
        grey: columns that are shown and compared with nothing.
        outdated: whether all of it is: another evaluator's.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int]
    notes: Sequence[str] = field(default_factory=tuple)
    sections: Mapping[int, str] = field(default_factory=dict[int, str])
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    grey: frozenset[int] = frozenset()
    outdated: bool = False


def text_table(board: Leaderboard, where: Standings | None = None) -> TextTable:
    """The leaderboard with its reasons for blanks as notes.

    Args:
        board: what is shown.
        where: intervals over all seeds, ranks and ties; without it the intervals of single-seed
            records are shown, and nobody is marked.
    """
    extra = missing_columns(board)
    names = [_column_name(column, board.columns) for column in board.columns]
    headers = ["method", "backbone", "weights", "adapts", *names, *extra, "mean"]
    if where is not None:
        headers.append("rank")
    headers += ["params", "GFLOP", "ms", "on", "selected"]
    rows: list[list[str]] = []
    sections: dict[int, str] = {}
    marks: dict[tuple[int, int], str] = {}
    found = board.sections()
    for section in found:
        if len(found) > 1:
            sections[len(rows)] = section.title
        for row in sorted(section.rows, key=lambda row: _by_mean(row, board, where)):
            marks |= {(len(rows), at): mark for at, mark in _marks(row, board, where).items()}
            rows.append(_cells(row, board, extra, where))
    main = {board.main_column(column.domain) for column in board.columns}
    notes = _notes(board)
    bracketed = any("[" in cell for row in rows for cell in row[_FIRST:-1])
    if where is not None or bracketed:
        notes.append("[ ] 95 % interval over query images; ± standard deviation over seeds")
    if where is not None and "tied" in marks.values():
        notes.append("≈ not distinguishable from the best of its section (paired, Holm, 5 %)")
    return TextTable(
        title=_title(board),
        headers=headers,
        rows=rows,
        numeric=frozenset(range(_FIRST, len(headers) - 2)),
        notes=notes,
        sections=sections,
        marks=marks,
        grey=frozenset(_FIRST + i for i, c in enumerate(board.columns) if c not in main),
        outdated=board.outdated,
    )


_FIRST = 4
"""Index of the first column of a domain."""


def _by_mean(row: Row, board: Leaderboard, where: Standings | None) -> tuple[float, str]:
    mean = board.mean(row)
    return (0.0 if mean is None or where is None else -mean, row.key.label)


def _marks(row: Row, board: Leaderboard, where: Standings | None) -> dict[int, str]:
    if where is None:
        return {}
    found: dict[int, str] = {}
    for at, column in enumerate([*board.columns, None], _FIRST):
        place = at if column is not None else at + len(missing_columns(board))
        standing = where.get((row.key, column))
        if standing is None:
            continue
        if standing.rank == 1:
            found[place] = "best"
        elif standing.tied:
            found[place] = "tied"
        elif standing.rank == 2:
            found[place] = "second"
    return found


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
    if board.outdated:
        parts.append("not comparable with this version's")
    return " · ".join(parts)


def _column_name(column: ColumnKey, columns: Sequence[ColumnKey]) -> str:
    same = [other for other in columns if other.domain == column.domain]
    mark = "" if _is_plain(column) else "*"
    if len(same) == 1:
        return f"{column.domain}{mark}"
    return f"{column.domain}{mark} {column.fingerprint[:4]}/{column.episodes}"


def _is_plain(column: ColumnKey) -> bool:
    return not column.limited and not column.profile.startswith(("partial", "unlisted", "unknown"))


def _cells(
    row: Row, board: Leaderboard, extra: Sequence[str], where: Standings | None
) -> list[str]:
    key = row.key
    cells = [key.label, key.backbone or BLANK, _weights(row), key.adaptation]
    for column in board.columns:
        score = row.scores.get(column)
        cells.append(BLANK if score is None else _score(score, row, column, where))
    cells += [BLANK] * len(extra)
    mean, standing = board.mean(row), (where or {}).get((row.key, None))
    interval = standing.interval if standing else None
    ends = f" {_ends(interval.low, interval.high)}" if interval else ""
    cells.append(BLANK if mean is None else f"{mean:.2f}{ends}")
    if where is not None:
        cells.append(str(standing.rank) if standing else BLANK)
    if row.cost is None:
        return [*cells, BLANK, BLANK, BLANK, BLANK, key.selection]
    cost = row.cost
    return [
        *cells,
        _count(cost.params),
        f"{cost.flops_episode / 1e9:.2f}",
        f"{cost.latency_ms['episode']['p50']:.1f}",
        cost.device,
        key.selection,
    ]


def _score(score: Score, row: Row, column: ColumnKey, where: Standings | None) -> str:
    text = f"{score.mean:.2f}"
    if score.spread is not None:
        text += f" ±{score.spread:.2f}"
    standing = (where or {}).get((row.key, column))
    if standing is not None and standing.interval is not None:
        text += f" {_ends(standing.interval.low, standing.interval.high)}"
    elif where is None and len(score.mious) == len(score.intervals) == 1:
        low, high = next(iter(score.intervals.values()))
        text += f" {_ends(low, high)}"
    return f"≈{text}" if standing is not None and standing.tied else text


def _ends(low: float, high: float) -> str:
    return f"[{low:.1f}, {high:.1f}]"


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
    notes += guards(board)
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
    """GitHub tables: the best in bold, the second in italics."""
    parts: list[str] = []
    for table in tables:
        rule = ["---:" if i in table.numeric else "---" for i in range(len(table.headers))]
        lines = [f"**{table.title}**", ""]
        lines += [_markdown_line(table.headers), _markdown_line(rule)]
        for index, cells in enumerate(table.rows):
            if index in table.sections:
                blanks = [""] * (len(table.headers) - 1)
                lines.append(_markdown_line([f"*{table.sections[index]}*", *blanks]))
            marked = [
                _AROUND.get(table.marks.get((index, at), ""), "{}").format(_escaped(cell))
                for at, cell in enumerate(cells)
            ]
            lines.append(_markdown_line(marked, escape=False))
        lines += ["", *(f"{note}  " for note in table.notes)]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts) + "\n"


_AROUND = {"best": "**{}**", "second": "*{}*"}


def _markdown_line(cells: Sequence[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_escaped(cell) if escape else cell for cell in cells) + " |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def as_csv(boards: Sequence[Leaderboard], where: Sequence[Standings] = ()) -> str:
    """One line per row and column, numbers in full precision."""
    out = io.StringIO()
    rows = _lines(boards, where)
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def as_json(boards: Sequence[Leaderboard], where: Sequence[Standings] = ()) -> str:
    """The same lines as JSON objects."""
    return json.dumps(_lines(boards, where), indent=1) + "\n"


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
            "latency_ms": cost.latency_ms["episode"]["p50"] if cost else None,
            "device": cost.device if cost else None,
        }
        for column in board.columns:
            score = row.scores.get(column)
            standing = where.get((row.key, column))
            ends = standing.interval if standing else None
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
        title=Text(table.title),  # a method's brackets are no markup
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, header in enumerate(table.headers):
        is_number = index in table.numeric
        drawn.add_column(header, justify="right" if is_number else "left", no_wrap=index == 0)
    styles = {"best": "bold", "second": "underline"}
    for at, row in enumerate(table.rows):
        if at in table.sections:
            drawn.add_section()
            drawn.add_row(Text(table.sections[at], style="italic"))
        cells = [
            Text(
                cell,
                style="dim" if i in table.grey else styles.get(table.marks.get((at, i), ""), ""),
            )
            for i, cell in enumerate(row)
        ]
        drawn.add_row(*cells, style="dim" if table.outdated else None)
    return Group(drawn, *(Text(note, style="dim") for note in table.notes))
