"""What a command would do, and how long it would take by what was measured before."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median

from cdfss_bench.datasets import Domain, Episode

from ..records.cell_folder import CellFolder, EpisodeRow
from ..records.environment import device_name
from ..records.results import RunResult
from ..records.schema import RunRecord, read_runs
from ..records.timings import Around, Spent, added, arounds, batches
from .cell import Cell
from .hashes import method_code
from .planned_cells import Planned


@dataclass(frozen=True, slots=True)
class Forecast:
    """One planned cell; `state` is `complete`, `begun`, `to do`, or `refused: reason`.

    Of its episodes `left` are not known yet. `seconds` are expected for those, in one process, and
    for what else the cell needs; None without an earlier measurement.
    """

    name: str
    state: str
    episodes: int
    left: int
    seconds: float | None
    hint: str = ""

    @property
    def expected(self) -> str:
        """The expected time as text."""
        if self.left == 0 and not self.seconds:
            return ""
        return "unknown" if self.seconds is None else f"{self.seconds:.1f} s"


def forecast(
    cells: Iterable[Planned],
    results: Path,
    *,
    device: str | None = "cpu",
    with_cost: bool = True,
    cost_again: bool = False,
    boundary: float | None = None,
) -> list[Forecast]:
    """What is known of planned cells before they run, in their order.

    Times are those of this device. A picture is encoded once for all cells of a network on a
    domain, a network is built where the one before was another, and its cost is measured once.

    Args:
        cells: as `plan` yields them.
        results: the results folder.
        device: that would compute; None for one that is not here, of which no time is known.
        with_cost: whether FLOPs and latency would be measured.
        cost_again: whether also those of cells that have them.
        boundary: tolerance of the boundary measures that would be added; None without them.
    """
    name = None if device is None else device_name(device)
    expecting = _Expecting(results, name, with_cost, cost_again, boundary)
    return [expecting.one(planned) for planned in cells]


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds by what they grow with, from earlier cells of one network.

    For each encoded picture, each episode, building the network, and measuring its cost.
    """

    picture: float
    episode: float
    build: float
    cost: float


def rates(
    pictures: Iterable[Spent], episodes: Iterable[Spent], around: Iterable[Around]
) -> Rates | None:
    """The rates that measurements amount to; None where no episode was measured.

    Pictures and episodes have batches of their own, those that are like the expected ones; `around`
    is what the cells of the latter took beside that.
    """
    seen, asked = added(pictures), added(episodes)
    if not asked.episodes:
        return None
    known = list(around)
    computed = sum(one.episodes for one in known)
    return Rates(
        (seen.seconds["load"] + seen.seconds["encode"]) / max(1, seen.encoded),
        (asked.seconds["adapt"] + asked.seconds["match"]) / asked.episodes
        + (sum(one.rest for one in known) / computed if computed else 0.0),
        median([one.build for one in known if one.episodes and one.build > _AT_HAND] or [0.0]),
        median([one.cost for one in known if one.episodes and one.cost > _AT_HAND] or [0.0]),
    )


_AT_HAND = 1e-3
"""Seconds below which a network or a cost was not made but looked up."""


@dataclass
class _Expecting:
    """What the cells before have built, measured and encoded already."""

    results: Path
    device: str | None
    with_cost: bool
    cost_again: bool
    boundary: float | None
    network: object = None
    domain: Domain | None = None
    encoded: set[str] = field(default_factory=set[str])
    costs: set[object] = field(default_factory=set[object])

    def one(self, planned: Planned) -> Forecast:
        cell = planned.cell
        if cell is None:
            state = f"refused: {planned.reason}"
            return Forecast(planned.title, state, 0, 0, 0.0, planned.hint or "")
        episodes = cell.episode_set.manifest.episodes
        folder = cell.folder(self.results)
        known = cell.finished_record(self.results)
        rows: dict[int, EpisodeRow] = {}
        if known is None:
            rows = folder.recover(episodes)
        elif self.boundary is not None:
            found = RunResult(folder.record, known).rows
            rows = folder.with_added({row.index: row for row in found})
        done = {index for index, row in rows.items() if row.is_measured(self.boundary)}
        if known is not None and self.boundary is None:
            done = set(range(len(episodes)))
        left = [episode for index, episode in enumerate(episodes) if index not in done]
        has_cost = known is not None and known.cost is not None and not self.cost_again
        is_costed = not self.with_cost or has_cost
        if known is not None and not left:
            seconds = 0.0 if is_costed else self._expected(cell, [], is_costed=False)
            return Forecast(planned.title, "complete", len(episodes), 0, seconds)
        state = "begun" if rows else "to do"
        seconds = self._expected(cell, left, is_costed=is_costed)
        return Forecast(planned.title, state, len(episodes), len(left), seconds)

    def _expected(self, cell: Cell, left: list[Episode], *, is_costed: bool) -> float | None:
        found = self._rates(cell)
        domain, key = cell.episode_set.domain, cell.network_key
        is_built = key == self.network
        if not is_built or domain is not self.domain:
            self.encoded = set()
        self.network, self.domain = key, domain
        before = len(self.encoded)
        for episode in left:
            self.encoded.add(domain.item(episode.class_id, episode.query).image)
            self.encoded |= {
                domain.item(episode.support_class_id, name).image for name in episode.supports
            }
        is_costed = is_costed or cell.cost_key in self.costs
        self.costs.add(cell.cost_key)
        if found is None:
            return None
        return (
            found.picture * (len(self.encoded) - before)
            + found.episode * len(left)
            + (0.0 if is_built else found.build)
            + (0.0 if is_costed else found.cost)
        )

    def _rates(self, cell: Cell) -> Rates | None:
        """From the same network on the same domain, else on any of the same size."""
        episode_set = cell.episode_set
        network = [
            (record, folder)
            for record, folder in self._records
            if (record.method.composition, record.method.backbone, record.evaluator.precision)
            == (str(cell.composition), cell.weights.backbone, cell.precision)
            and record.evaluator.image_size == episode_set.domain.card.image_size
        ]
        # What was measured before the code changed counts where there is nothing else.
        now = method_code(cell.composition, cell.weights.backbone)
        network = [one for one in network if one[0].method.code == now] or network
        at_home = [one for one in network if one[0].domain.title == episode_set.domain.title]

        def asked(of: list[tuple[RunRecord, CellFolder]]) -> list[CellFolder]:
            return [f for record, f in of if record.episodes.shots == episode_set.shots]

        alike = asked(at_home) or asked(network)
        return rates(
            (spent for _, folder in at_home or network for spent in batches(folder.timings)),
            (spent for folder in alike for spent in batches(folder.timings)),
            (one for folder in alike for one in arounds(folder.timings)),
        )

    @cached_property
    def _records(self) -> list[tuple[RunRecord, CellFolder]]:
        """Those of this device."""
        # One that cannot be read tells no time, and the cells are planned all the same.
        return [
            (record, CellFolder(path.parent))
            for path, record in read_runs(self.results, told=lambda _: None)
            if self.device and record.environment.get("device") == self.device
        ]
