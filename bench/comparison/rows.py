"""The rows of leaderboards, and what they scored."""

import math
import statistics
from dataclasses import dataclass, field

from cdfss_bench.methods.registry.name_grammar import METHODS

from ..records.schema import CostPart
from .current import State
from .keys import ColumnKey, RowKey

CONTROL = "@shuffled-support"
"""Behind a method's name: the same method, shown supports of a wrong class."""


@dataclass
class Score:
    """A row's results in one column.

    Attributes:
        mious: by seed.
        cells: ids of the records, by seed.
        asked: sha256 of the manifests and side of the masks that were counted, by seed.
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
    asked: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
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
        if len(self.mious) < 2:
            return None
        mean = self.mean  # `statistics.stdev` works in fractions, which many rows would wait for
        squares = math.fsum((miou - mean) ** 2 for miou in self.mious.values())
        return math.sqrt(squares / (len(self.mious) - 1))


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
        replaced: column and seed of what an external program was scored on again.
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
    replaced: set[tuple[ColumnKey, int]] = field(default_factory=set[tuple[ColumnKey, int]])

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
