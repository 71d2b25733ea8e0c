"""From records to leaderboards: who is compared with whom, and what must stay blank."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from cdfss_bench.datasets.core.domain import COPY
from cdfss_bench.errors import unknown
from cdfss_bench.methods.registry.name_grammar import MADE_FOR, METHODS, THIS_ROW

from ..records.counts import EVALUATOR_VERSION
from ..records.schema import CostPart, RunRecord
from .current import Choice, Chosen, State, chosen, is_finished
from .keys import (
    BoardKey,
    ColumnKey,
    RowKey,
    board_key,
    column_key,
    machine_of,
    row_key,
    shown_names,
    version_of,
    with_version,
)


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
        population: whether it is a named population, however many episodes were asked.
        state: of the code that computed all of it.
        notes: of the records, each once.
    """

    mious: dict[int, float] = field(default_factory=dict[int, float])
    cells: dict[int, str] = field(default_factory=dict[int, str])
    intervals: dict[int, tuple[float, float]] = field(
        default_factory=dict[int, tuple[float, float]]
    )
    per_class: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    classes: dict[int, str] = field(default_factory=dict[int, str])
    complete: bool = True
    population: bool = True
    state: State = "current"
    notes: dict[str, None] = field(default_factory=dict[str, None])

    @property
    def is_stale(self) -> bool:
        """Whether older code computed it."""
        return self.state == "stale"

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
        cost: of the newest of its records that has one; a shuffled-support control costs what its
            host costs and has the host's.
        cost_cell: the id of that record.
        cost_state: of the code of that record.
        machine: on which its times were taken; only times of one machine may be compared.
        source: what it was trained on, as its weights' card says.
        weights_kind: what its weights are to it, as `records.WeightsPart.kind`.
        pretraining: what its backbone was pretrained on; empty without one.
        made_for: for which backbones its method was made, where it ran on another.
        sizes: sides in pixels at which its backbone sees images, each with the side at which masks
            are counted; none without a backbone.
        said: what the cards of its parts say of it.
        is_trial: whether it ran with the mini suite's weights on other data.
        version: of the newest of its records.
    """

    key: RowKey
    scores: dict[ColumnKey, Score] = field(default_factory=dict[ColumnKey, Score])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    cost: CostPart | None = None
    cost_cell: str = ""
    cost_state: State = "current"
    machine: str = ""
    source: str = ""
    weights_kind: str = ""
    pretraining: str = ""
    made_for: str = ""
    sizes: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    said: tuple[str, ...] = ()
    is_trial: bool = False
    version: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether it lacks the source training of its published form."""
        return self.weights_kind == "not source-trained"

    @property
    def is_control(self) -> bool:
        """Whether it is a control row: no method, or one that is shown wrong supports."""
        host = self.key.composition.partition("[")[0]
        return CONTROL in self.key.composition or (
            host in METHODS and METHODS.card(host).kind == "control"
        )


class Section(NamedTuple):
    """Rows of a board that are ranked among each other; controls are ranked with nobody.

    Attributes:
        title: what they have in common.
        rows: the best mean first, then the rows without one by name.
        is_told: whether its title is shown: there are others, or it is comparable with none.
    """

    title: str
    rows: list[Row]
    is_told: bool

    @property
    def is_ranked(self) -> bool:
        """Whether its rows compete."""
        return self.title != CONTROLS


_SECTIONS = {
    "none": "no adaptation",
    "episode": "adapts to the support of each episode",
    "transductive": "adapts to the support and the unlabelled query",
}
BARE = "not source-trained: backbone weights only"
TRIAL = "trial: weights of the mini suite on other data"
ORACLE = "not comparable: selected on target data"
APART = (BARE, TRIAL, ORACLE)
"""Sections whose rows are comparable with no others: their titles are always shown."""
ORDERS = ("mean", "method", "params", "GFLOP", "ms")
"""By what the rows of a board may be sorted, beside the domains: scores descend, costs ascend."""
CONTROLS = "controls"
"""Section of the control rows, below the methods; those of rows apart stay with them."""
CONTROL = "@shuffled-support"
"""Behind a method's name: the same method, shown supports of a wrong class."""


class Arrangement(NamedTuple):
    """How the rows and columns of leaderboards are shown.

    Attributes:
        order: by what rows are sorted: one of `ORDERS`, or a domain.
        with_controls: whether control rows are among them.
        columns: names of those that are shown beside the method; empty for all.
    """

    order: str = "mean"
    with_controls: bool = True
    columns: tuple[str, ...] = ()


BY_MEAN = Arrangement()


@dataclass
class Leaderboard:
    """Rows that may be compared.

    Attributes:
        key: what they share.
        metric: of its scores, one of `metrics.METRICS`.
        columns: in order.
        rows: by method name.
        copies: what the records note of supports that are their query's own picture, by column;
            a control's wrong supports are left out.
        left_out: finished records in whose place another is shown, by the state of their code.
        unknown: methods whose code is not installed here.
        arrangement: of the rows of its sections; what hidden controls tell of others stays.
    """

    key: BoardKey
    metric: str = "miou"
    columns: list[ColumnKey] = field(default_factory=list[ColumnKey])
    rows: dict[RowKey, Row] = field(default_factory=dict[RowKey, Row])
    copies: dict[ColumnKey, set[str]] = field(default_factory=dict[ColumnKey, set[str]])
    left_out: Counter[State] = field(default_factory=Counter[State])
    unknown: dict[str, None] = field(default_factory=dict[str, None])
    arrangement: Arrangement = BY_MEAN

    def sections(self) -> list[Section]:
        """Rows by adaptation class and pretraining, then controls, then what has no equal."""
        found = [
            Section(f"{title} · {group}" if group else title, rows, title in APART)
            for title in (*_SECTIONS.values(), CONTROLS, *APART)
            for group in ("", *self._groups())
            if (rows := [r for r in self._shown() if self._place(r) == (title, group)])
        ]
        for section in found:
            section.rows.sort(key=self._in_order)
        return [part._replace(is_told=True) for part in found] if len(found) > 1 else found

    @cached_property
    def pretrainings(self) -> list[str]:
        """What the backbones of its rows were pretrained on, each once."""
        return sorted({row.pretraining for row in self.rows.values()} - {""})

    def _groups(self) -> list[str]:
        """Of pretraining, by title; none where all backbones share theirs."""
        known = self.pretrainings
        if len(known) < 2:
            return []
        return [*(f"pretrained on {name}" for name in known), "without a backbone"]

    def _place(self, row: Row) -> tuple[str, str]:
        own = f"pretrained on {row.pretraining}" if row.pretraining else "without a backbone"
        title = _section(row)
        return title, own if own in self._groups() and title != CONTROLS else ""

    def _shown(self) -> list[Row]:
        hides = not self.arrangement.with_controls
        return [row for row in self.rows.values() if not (hides and row.is_control)]

    def _in_order(self, row: Row) -> tuple[bool, bool, float, str]:
        """Controls among others last, then rows without the number, then the best first."""
        value = self._value(row)
        return row.is_control, value is None, value or 0.0, row.key.label

    def _value(self, row: Row) -> float | None:
        """By what a row is sorted, the smallest first; None where it has no such number."""
        order = self.arrangement.order
        if order == "method":
            return 0.0
        if order in ("params", "GFLOP", "ms"):
            if row.cost is None:
                return None
            spent = row.cost.latency_ms["episode"]["p50"]
            of = {"params": row.cost.params, "GFLOP": row.cost.flops_episode, "ms": spent}
            return float(of[order])
        columns = [column for column in self.columns if column.domain == order]
        if not columns:
            mean = self.mean(row)
            if mean is not None:
                return -mean
            columns = self.columns if len(self.columns) == 1 else []
        scores = [row.scores[column].mean for column in columns if column in row.scores]
        return -max(scores) if scores else None

    @property
    def outdated(self) -> bool:
        """Whether another evaluator than this version's measured it."""
        return self.key.evaluator != EVALUATOR_VERSION

    def main_column(self, domain: str) -> ColumnKey:
        """Of several populations of a domain the one that is compared: whole, with most rows."""

        def weight(column: ColumnKey) -> tuple[bool, bool, int, int]:
            rows = sum(column in row.scores for row in self.rows.values())
            return self._is_whole(column), self._is_fresh(column), rows, column.episodes

        return max((c for c in self.columns if c.domain == domain), key=weight)

    def is_stale(self, row: Row, column: ColumnKey | None) -> bool:
        """Whether older code computed a row's score, or any part of its mean (None)."""
        columns = self.mean_columns if column is None else [column]
        return any(c in row.scores and row.scores[c].is_stale for c in columns)

    @cached_property
    def mean_columns(self) -> list[ColumnKey]:
        """What a mean is taken over: each domain's whole population, all episodes asked.

        Where not all domains have such a column, the columns of whole populations whose episodes
        were shortened. Empty where a domain has neither, or several of one kind, or where there is
        one domain only. What only older code answered counts where the installed code answered
        nothing of a domain.
        """
        known = sorted({column.domain for column in self.columns})
        for counts in (self._is_whole, self._is_population):
            found = [column for column in self.columns if counts(column)]
            fresh = {column.domain for column in found if self._is_fresh(column)}
            found = [c for c in found if c.domain not in fresh or self._is_fresh(c)]
            domains = sorted(column.domain for column in found)
            if domains == known and len(domains) > 1:
                return found
        return []

    @property
    def is_mean_shortened(self) -> bool:
        """Whether its means are over fewer episodes than the protocol has."""
        return any(column.limited for column in self.mean_columns)

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
        return all(score.complete for score in self._scores(column))

    def _is_population(self, column: ColumnKey) -> bool:
        return all(score.population for score in self._scores(column))

    def _is_fresh(self, column: ColumnKey) -> bool:
        return any(not score.is_stale for score in self._scores(column))

    def _scores(self, column: ColumnKey) -> list[Score]:
        return [row.scores[column] for row in self.rows.values() if column in row.scores]


def leaderboards(
    records: Iterable[RunRecord],
    arrangement: Arrangement = BY_MEAN,
    choice: Choice | None = None,
) -> list[Leaderboard]:
    """The leaderboards of all records, mini suite last, fewer shots first.

    Of several records of one row, column and seed `current.chosen` decides which is shown.

    Args:
        records: of all cells.
        arrangement: of their rows; by default the best mean first, with controls.
        choice: `chosen` of the records, where it is at hand.

    Raises:
        UserError: for an order that is none.
    """
    known = list(records)
    names = shown_names(known)
    choice = choice or chosen(known)
    boards: dict[BoardKey, Leaderboard] = {}
    for one in choice.shown:
        key = board_key(one.record)
        _add(boards.setdefault(key, Leaderboard(key)), one, names)
    for record, state in choice.left_out:
        boards[board_key(record)].left_out[state] += 1
    unfinished = [record for record in known if not is_finished(record)]
    for record in sorted(unfinished, key=lambda record: (record.finished, record.started)):
        _note_missing(boards, record, names)
    for board in boards.values():
        for host, control in controls_of(board):
            if host.cost is not None:
                control.cost, control.cost_cell = host.cost, host.cost_cell
                control.cost_state, control.machine = host.cost_state, host.machine
        board.columns.sort()
        _tell_apart(board)
        board.rows = dict(sorted(board.rows.items()))
    arrangement = arrangement._replace(order=_known_order(arrangement.order, boards.values()))
    for board in boards.values():
        board.arrangement = arrangement
    return sorted(boards.values(), key=lambda b: (b.key.suite == "mini", *b.key))


def _known_order(typed: str, boards: Iterable[Leaderboard]) -> str:
    """An order as it is spelled, whatever the case of what was typed.

    Raises:
        UserError: for one that no board has.
    """
    domains = {column.domain for board in boards for column in board.columns}
    known = {name.lower(): name for name in (*sorted(domains), *ORDERS)}
    if typed.lower() not in known:
        raise unknown("order of rows", typed, known.values())
    return known[typed.lower()]


def _tell_apart(board: Leaderboard) -> None:
    """Puts the version behind the label of rows that look alike: label, backbone and weights."""
    looks = {key: key[:1] + key[2:4] for key, row in board.rows.items() if row.scores}
    shared = Counter(looks.values())
    for key, look in looks.items():
        if shared[look] > 1:
            row = board.rows.pop(key)
            own = with_version(key.label, key.label.partition(" (")[0], row.version)
            row.key = key._replace(label=own)
            board.rows[row.key] = row


def _add(board: Leaderboard, one: Chosen, names: Mapping[str, str]) -> None:
    """Puts a finished record on its board; older ones must come first."""
    record, state = one
    assert record.metrics is not None
    column = column_key(record)
    if column not in board.columns:
        board.columns.append(column)
    row = board.rows.setdefault(own := row_key(record, names), Row(own))
    score = row.scores.setdefault(
        column,
        Score(
            complete=record.domain.complete and not record.episodes.limited,
            population=record.domain.complete,
            state=state,
        ),
    )
    if CONTROL not in record.method.composition:
        found = {note for note in record.notes if note.startswith(COPY)}
        board.copies.setdefault(column, set()).update(found)
    if state == "unknown":
        board.unknown[record.method.label] = None
    seed = record.episodes.seed
    score.mious[seed] = record.metrics.miou
    score.cells[seed] = record.cell
    if record.metrics.miou_interval is not None:
        score.intervals[seed] = record.metrics.miou_interval
    for class_id, iou in record.metrics.per_class.items():
        score.per_class.setdefault(class_id, []).append(iou)
    score.classes |= record.domain.classes
    score.notes |= dict.fromkeys(record.notes)
    if record.cost is not None and (row.cost is None or not _is_older(state, row.cost_state)):
        row.cost, row.cost_cell, row.cost_state = record.cost, record.cell, state
        row.machine = machine_of(record, record.cost)
    row.source = str(record.weights.source.get("domain", "")) or row.source
    row.weights_kind = record.weights_kind or row.weights_kind
    row.pretraining = record.weights.pretraining or row.pretraining
    row.made_for = next((n for n in record.notes if n.startswith(MADE_FOR)), row.made_for)
    if record.method.input_size:
        row.sizes.add((record.method.input_size, record.evaluator.image_size))
    row.said = tuple(n for n in record.notes if n.startswith(THIS_ROW)) or row.said
    row.is_trial = row.is_trial or record.is_trial
    row.version = version_of(record)


def _is_older(state: State, other: State) -> bool:
    return state == "stale" and other != "stale"


def controls_of(board: Leaderboard) -> list[tuple[Row, Row]]:
    """(row, its shuffled-support control) for every row with one on the same weights."""
    rows = {
        (key.composition, key.backbone, key.weights_sha256, key.selection): row
        for key, row in board.rows.items()
    }
    pairs: list[tuple[Row, Row]] = []
    for key, row in board.rows.items():
        name = f"{key.composition}{CONTROL}"
        control = rows.get((name, key.backbone, key.weights_sha256, key.selection))
        if control is not None:
            pairs.append((row, control))
    return pairs


def _note_missing(
    boards: dict[BoardKey, Leaderboard], record: RunRecord, names: Mapping[str, str]
) -> None:
    board = boards.setdefault(key := board_key(record), Leaderboard(key))
    reason = record.reason or f"the run is {record.status}"
    wanted = record.method.composition
    alike = [row for key, row in board.rows.items() if key.composition == wanted]
    if not alike:
        own = row_key(record, names)
        alike = [board.rows.setdefault(own, Row(own))]
    for row in alike:
        answered = any(column.domain == record.domain.title for column in row.scores)
        if not answered:
            row.missing[record.domain.title] = reason


def _section(row: Row) -> str:
    if "target" in row.key.selection:
        return ORACLE
    if row.is_trial:
        return TRIAL
    if row.is_control:
        return CONTROLS
    return BARE if row.is_bare else _SECTIONS[row.key.adaptation]


def missing_columns(board: Leaderboard) -> list[str]:
    """Domains for which no row of the board has a score, only reasons."""
    known = {column.domain for column in board.columns}
    return sorted({d for row in board.rows.values() for d in row.missing} - known)


def seeds_of(rows: Sequence[Row]) -> list[int]:
    """All seeds behind some rows."""
    return sorted({seed for row in rows for s in row.scores.values() for seed in s.mious})
