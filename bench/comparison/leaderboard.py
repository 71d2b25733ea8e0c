"""A leaderboard: its rows in order, and what must stay blank."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..records.counts import EVALUATOR_VERSION
from .current import State
from .keys import BoardKey, ColumnKey, RowKey
from .rows import CONTROL, Row, Score


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


class Arrangement(NamedTuple):
    """How the rows and columns of leaderboards are shown.

    Attributes:
        order: by what rows are sorted: one of `ORDERS`, or a domain.
        with_controls: whether control rows are among them.
        columns: names of those that are shown beside the method; empty for all.
        of_all_domains: whether all recorded domains are shown; else there is no mean, which would
            be over others than those of the same row elsewhere.
    """

    order: str = "mean"
    with_controls: bool = True
    columns: tuple[str, ...] = ()
    of_all_domains: bool = True


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
        if not self.arrangement.of_all_domains:
            return []
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
