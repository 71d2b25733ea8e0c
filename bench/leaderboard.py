"""From records to leaderboards: who is compared with whom, and what must stay blank."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cdfss_bench.datasets.domain import COPY

from .counts import EVALUATOR_VERSION
from .records import CostPart, RunRecord


class RowKey(NamedTuple):
    """What makes a row: seeds of the same row are averaged, anything else is another row."""

    label: str
    composition: str
    backbone: str
    weights: str
    weights_sha256: str
    selection: str
    adaptation: str


class ColumnKey(NamedTuple):
    """What makes a column: another population or another episode count is another column."""

    domain: str
    profile: str
    fingerprint: str
    limited: bool
    episodes: int


class BoardKey(NamedTuple):
    """What makes a leaderboard: nothing on it was measured in another way."""

    suite: str
    protocol: str
    shots: int
    evaluator: int
    precision: str


@dataclass
class Score:
    """A row's results in one column.

    Attributes:
        mious: by seed.
        cells: ids of the records, by seed.
        intervals: as the records state them, by seed.
        per_class: IoU by class id, one per seed.
        classes: their names.
        complete: whether the column is a named population, all episodes asked.
    """

    mious: dict[int, float] = field(default_factory=dict[int, float])
    cells: dict[int, str] = field(default_factory=dict[int, str])
    intervals: dict[int, tuple[float, float]] = field(
        default_factory=dict[int, tuple[float, float]]
    )
    per_class: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    classes: dict[int, str] = field(default_factory=dict[int, str])
    complete: bool = True

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.mious.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for a single one."""
        return statistics.stdev(self.mious.values()) if len(self.mious) > 1 else None


@dataclass
class Row:
    """One line of a leaderboard.

    Attributes:
        key: what it is.
        scores: by column.
        missing: reasons by domain title, where there is no score.
        cost: from any of its records.
        cost_cell: the id of that record.
        machine: on which its times were taken; only times of one machine may be compared.
        source: what it was trained on, as its weights' card says.
    """

    key: RowKey
    scores: dict[ColumnKey, Score] = field(default_factory=dict[ColumnKey, Score])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    cost: CostPart | None = None
    cost_cell: str = ""
    machine: str = ""
    source: str = ""


class Section(NamedTuple):
    """Rows of a board that are ranked among each other."""

    title: str
    rows: list[Row]


_SECTIONS = {
    "none": "no adaptation",
    "episode": "adapts to the support of each episode",
    "transductive": "adapts to the support and the unlabelled query",
}
ORACLE = "not comparable: selected on target data"


@dataclass
class Leaderboard:
    """Rows that may be compared.

    Attributes:
        key: what they share.
        columns: in order.
        rows: by method name.
        copies: what the records note of supports that are their query's own picture, by column;
            a control's wrong supports are left out.
    """

    key: BoardKey
    columns: list[ColumnKey] = field(default_factory=list[ColumnKey])
    rows: dict[RowKey, Row] = field(default_factory=dict[RowKey, Row])
    copies: dict[ColumnKey, set[str]] = field(default_factory=dict[ColumnKey, set[str]])

    def sections(self) -> list[Section]:
        """Rows by adaptation class; what was selected on target data apart, ranked with nobody."""
        titles = [*_SECTIONS.values(), ORACLE]
        rows = {title: [r for r in self.rows.values() if _section(r) == title] for title in titles}
        return [Section(title, rows[title]) for title in titles if rows[title]]

    @property
    def outdated(self) -> bool:
        """Whether another evaluator than this version's measured it."""
        return self.key.evaluator != EVALUATOR_VERSION

    def main_column(self, domain: str) -> ColumnKey:
        """Of several populations of a domain the one that is compared: whole, with most rows."""

        def weight(column: ColumnKey) -> tuple[bool, int, int]:
            rows = sum(column in row.scores for row in self.rows.values())
            return self._is_whole(column), rows, column.episodes

        return max((c for c in self.columns if c.domain == domain), key=weight)

    @property
    def mean_columns(self) -> list[ColumnKey]:
        """What a mean is taken over: each domain's whole population, all episodes asked.

        Empty where a domain has no such column or several, or where there is one domain only.
        """
        whole = [column for column in self.columns if self._is_whole(column)]
        domains = [column.domain for column in whole]
        known = {column.domain for column in self.columns}
        return whole if len(domains) > 1 and sorted(domains) == sorted(known) else []

    def mean(self, row: Row) -> float | None:
        """Mean over the domains, or None where it would not be the field's number.

        A mean needs every domain of the board once, complete: never a mean over what happens to
        be there. What another row did with fewer episodes stands beside it and changes nothing.
        """
        scores = [row.scores.get(column) for column in self.mean_columns]
        present = [score for score in scores if score is not None]
        if not present or len(present) != len(scores):
            return None
        return statistics.fmean(score.mean for score in present)

    def _is_whole(self, column: ColumnKey) -> bool:
        scores = [row.scores[column] for row in self.rows.values() if column in row.scores]
        return all(score.complete for score in scores)


def leaderboards(records: Iterable[RunRecord]) -> list[Leaderboard]:
    """The leaderboards of all records, mini suite last, fewer shots first."""
    boards: dict[BoardKey, Leaderboard] = {}
    unfinished: list[RunRecord] = []
    for record in records:
        if record.status != "done" or record.metrics is None:
            unfinished.append(record)
            continue
        board = boards.setdefault(key := _board_key(record), Leaderboard(key))
        column = column_key(record)
        if column not in board.columns:
            board.columns.append(column)
        row = board.rows.setdefault(own := row_key(record), Row(own))
        score = row.scores.setdefault(
            column,
            Score(complete=record.domain.complete and not record.episodes.limited),
        )
        if "@" not in record.method.composition:
            found = {note for note in record.notes if note.startswith(COPY)}
            board.copies.setdefault(column, set()).update(found)
        seed = record.episodes.seed
        score.mious[seed] = record.metrics.miou
        score.cells[seed] = record.cell
        if record.metrics.miou_interval is not None:
            score.intervals[seed] = record.metrics.miou_interval
        for class_id, iou in record.metrics.per_class.items():
            score.per_class.setdefault(class_id, []).append(iou)
        score.classes |= record.domain.classes
        if row.cost is None and record.cost is not None:
            row.cost, row.cost_cell = record.cost, record.cell
            row.machine = machine_of(record, record.cost)
        row.source = row.source or str(record.weights.source.get("domain", ""))
    for record in unfinished:
        _note_missing(boards, record)
    for board in boards.values():
        board.columns.sort()
        board.rows = dict(sorted(board.rows.items()))
    return sorted(boards.values(), key=lambda b: (b.key.suite == "mini", *b.key))


def _note_missing(boards: dict[BoardKey, Leaderboard], record: RunRecord) -> None:
    board = boards.setdefault(key := _board_key(record), Leaderboard(key))
    reason = record.reason or f"the run is {record.status}"
    wanted = (record.method.label, record.method.composition)
    alike = [row for row in board.rows.values() if (row.key.label, row.key.composition) == wanted]
    if not alike:
        own = row_key(record)
        alike = [board.rows.setdefault(own, Row(own))]
    for row in alike:
        answered = any(column.domain == record.domain.title for column in row.scores)
        if not answered:
            row.missing[record.domain.title] = reason


def _section(row: Row) -> str:
    return ORACLE if "target" in row.key.selection else _SECTIONS[row.key.adaptation]


def missing_columns(board: Leaderboard) -> list[str]:
    """Domains for which no row of the board has a score, only reasons."""
    known = {column.domain for column in board.columns}
    return sorted({d for row in board.rows.values() for d in row.missing} - known)


def seeds_of(rows: Sequence[Row]) -> list[int]:
    """All seeds behind some rows."""
    return sorted({seed for row in rows for s in row.scores.values() for seed in s.mious})


def _board_key(record: RunRecord) -> BoardKey:
    return BoardKey(
        record.domain.suite,
        record.episodes.protocol,
        record.episodes.shots,
        record.evaluator.version,
        record.evaluator.precision,
    )


def machine_of(record: RunRecord, cost: CostPart) -> str:
    """What the times of a record were taken on: an accelerator's name, or processor and threads."""
    if cost.device != "cpu":
        return cost.device
    threads = cost.threads or record.environment.get("threads")
    counted = f"{threads} thread{'s' if threads != 1 else ''}" if threads else ""
    return ", ".join(filter(None, [str(record.environment.get("cpu", "cpu")), counted]))


def column_key(record: RunRecord) -> ColumnKey:
    """The column in which a record stands."""
    return ColumnKey(
        record.domain.title,
        record.domain.profile,
        record.domain.fingerprint,
        record.episodes.limited,
        record.episodes.count,
    )


def row_key(record: RunRecord) -> RowKey:
    """The row in which a record stands."""
    return RowKey(
        record.method.label,
        record.method.composition,
        record.method.backbone,
        record.weights.description,
        record.weights.checkpoint_sha256 or record.weights.pretrained_sha256,
        record.weights.selection,
        record.method.adaptation,
    )
