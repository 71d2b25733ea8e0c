"""Runs planned cells: resumes what was begun, records what was found, explains what cannot be."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from cdfss_bench import plain_json
from cdfss_bench.datasets import Domain
from cdfss_bench.datasets.core.manifest import Manifest
from cdfss_bench.errors import RecordError, UserError
from cdfss_bench.methods.core.method import Method

from ..planning.cell import Cell, refused_record
from ..planning.planned_cells import Planned
from ..records.cell_folder import Appender, CellFolder, EpisodeRow, checksum
from ..records.environment import now
from ..records.place import folder_of
from ..records.removal import forget_refusals
from ..records.schema import RunRecord
from ..records.timings import Clock
from ..runtime.allocator import keep_memory
from ..runtime.precision import exact_fp32
from ..runtime.threads import fit_threads
from ..statistics.summary import metrics_of
from .cell_cost import CellCosts, note_no_cost
from .complete_weights import load_complete
from .completion import Extras
from .evaluator import BatchTiming, Settings, evaluate
from .feature_cache import FeatureStores
from .feature_files import FeatureFiles
from .record_notes import cell_notes
from .saved_masks import SavedMasks

SAME_ANSWER = 1e-3
"""Share of an image's pixels by which two answers to one question may differ: pictures that are
encoded in other batches differ by rounding."""

How = Literal["computed", "resumed", "known", "refused", "failed", "busy"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a planned cell.

    Attributes:
        planned: the cell.
        how: `computed`, `resumed` (some episodes were known), `known` (all were), `refused` (the
            user can correct it), `failed` (a defect), or `busy` (another process computes it).
        record: as it stands on disk; None where it is busy.
        detail: one sentence where something went wrong; of a finished cell, why it has no cost.
    """

    planned: Planned
    how: How
    record: RunRecord | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; handed to the listener after every batch."""

    planned: Planned
    done: int
    total: int


Listener = Callable[[Progress], None]


class Runner:
    """Runs cells one after the other, sharing networks, features and costs between them.

    Args:
        results: the results folder.
        settings: how to compute.
        listener: told of progress.
        with_cost: whether FLOPs and latency are measured too.
        cost_again: whether also those of cells that have them.
        command: what the records say was typed; by default this process's own words.
        save_masks: where predicted masks are written; None to write none.
    """

    def __init__(
        self,
        results: Path,
        settings: Settings | None = None,
        *,
        listener: Listener | None = None,
        with_cost: bool = True,
        cost_again: bool = False,
        command: str | None = None,
        save_masks: SavedMasks | None = None,
    ):
        keep_memory()
        exact_fp32()
        self.results = results
        self.settings = settings or Settings()
        self.listener = listener
        self.with_cost = with_cost
        self.command = command
        self.extras = Extras(results, save_masks, self.settings.boundary)
        self._network: tuple[object, Method] | None = None
        self._stores: tuple[object, FeatureStores] | None = None
        self._costs = CellCosts(results, self.settings.device, again=cost_again)
        self._standing_notes: dict[Domain, dict[str, None]] = {}

    def run(self, cells: Iterable[Planned]) -> Iterator[Outcome]:
        """The outcome of each cell; those that another process works on are tried again last.

        Raises:
            UserError: if the results cannot be written; finished episodes are kept.
            KeyboardInterrupt: after the record of the cell at work was marked as interrupted.
        """
        busy: list[Planned] = []
        for planned in cells:
            outcome = self._one(planned)
            if outcome.how == "busy":
                busy.append(planned)
            else:
                yield outcome
        for planned in busy:
            yield self._one(planned)

    def without_computing(self, planned: Planned) -> Outcome | None:
        """The outcome of a cell that is refused or complete; None where there is work to do."""
        cell = planned.cell
        if cell is None:
            record = refused_record(
                planned.composition,
                planned.backbone,
                planned.episode_set,
                planned.reason,
                self.settings.device,
            )
            record.command = self.command or record.command
            record.save(folder_of(record, self.results).record)
            return Outcome(planned, "refused", record, planned.reason)
        known = cell.finished_record(self.results)
        if known is None or self.extras.missing_in(cell, known):
            return None
        self._restore_manifest(cell)
        forget_refusals(known, self.results)
        return Outcome(planned, "known", known)

    def failed(self, planned: Planned, reason: str) -> Outcome:
        """The outcome of a cell that whoever computed it could not finish; its rows are kept."""
        assert planned.cell is not None
        folder = planned.cell.folder(self.results)
        try:
            lock = folder.lock(wait=10)
        except RecordError as error:
            return Outcome(planned, "busy", None, error.problem)
        with lock:
            known = planned.cell.finished_record(self.results)
            if known is not None:
                # Its numbers are there: what ended the process came after the last episode.
                detail = note_no_cost(known, reason)
                known.save(folder.record)
                return Outcome(planned, "known", known, detail)
            record = planned.cell.record(self.settings.device)
            record.command = self.command or record.command
            return self._broken(planned, record, folder, "failed", reason)

    def lacks_cost(self, record: RunRecord) -> bool:
        """Whether the cost of a finished cell is still to be measured."""
        return self.with_cost and (record.cost is None or self._costs.again)

    def _one(self, planned: Planned) -> Outcome:
        cell = planned.cell
        if cell is None:
            refused = self.without_computing(planned)
            assert refused is not None
            return refused
        fit_threads(cell.episode_set.domain.card.image_size)
        folder = cell.folder(self.results)
        known = cell.finished_record(self.results)
        missing = self.extras.missing_in(cell, known)
        if known is not None and not missing and not self.lacks_cost(known):
            # Nothing must be written: a folder that may only be read is enough.
            self._restore_manifest(cell)
            forget_refusals(known, self.results)
            return Outcome(planned, "known", known)
        try:
            lock = folder.lock()
        except RecordError as error:
            return Outcome(planned, "busy", None, error.problem)
        except UserError as error:
            if known is None or missing:
                raise
            return Outcome(planned, "known", known, note_no_cost(known, error.problem))
        with lock:
            known = cell.finished_record(self.results)
            if known is None:
                return self._computed(planned, cell, folder)
            detail = ""
            if missing:
                try:
                    computed = partial(self._evaluated, cell, self._network_of(cell))
                    detail = self.extras.add(cell, known, computed, partial(self._tell, planned))
                except RecordError as error:
                    planned.hint = error.hint
                    return Outcome(planned, "refused", None, error.problem)
                except (UserError, ValueError) as error:
                    return Outcome(planned, "failed", None, f"{self.extras} not saved: {error}")
            if self.lacks_cost(known):
                detail = self._add_cost(cell, known) or detail
                known.save(folder.record)
            return Outcome(planned, "known", known, detail)

    def _restore_manifest(self, cell: Cell) -> None:
        """Writes the manifest of a finished cell where it lacks or is another, as after a copy."""
        file, manifest = cell.folder(self.results).manifest, cell.episode_set.manifest
        try:
            found = Manifest.load(file).sha256
        except UserError:
            found = None
        if found != manifest.sha256:
            with suppress(UserError):
                manifest.save(file)

    def _evaluated(
        self, cell: Cell, network: Method, skip: set[int]
    ) -> Iterator[tuple[list[EpisodeRow], BatchTiming]]:
        episode_set = cell.episode_set
        return evaluate(
            network,
            episode_set.domain,
            episode_set.manifest.episodes,
            seed=episode_set.seed,
            skip=skip,
            settings=self.settings,
            stores=self._stores_of(cell),
            keep=self.extras.keep(cell),
        )

    def _add_cost(self, cell: Cell, record: RunRecord) -> str:
        detail = self._costs.add(cell, record, self._network_of)
        if detail:
            self._network = None  # nobody knows what the failure left in it
        return detail

    def _computed(self, planned: Planned, cell: Cell, folder: CellFolder) -> Outcome:
        clock = Clock()
        manifest = cell.episode_set.manifest
        record = cell.record(self.settings.device)
        record.command = self.command or record.command
        rows = folder.recover(manifest.episodes)
        how: How = "resumed" if rows else "computed"
        self._forget_notes(cell.episode_set.domain)
        folder.write_rows(list(rows.values()))
        manifest.save(folder.manifest)
        record.save(folder.record)
        try:
            with clock.of("build"):
                network = self._network_of(cell)
            recovered = len(rows)
            staged = self._append_rows(planned, cell, folder, network, rows)
            if cell.runs_foreign_code:
                # Of a run that was ended just before this, all rows are known.
                every = list(rows.values())
                self._ask_again(planned, network, folder, every[recovered:] or every)
        except KeyboardInterrupt:
            record.status, record.finished = "interrupted", now()
            record.reason = f"stopped by hand after {len(rows)} of {len(manifest)} episodes"
            record.save(folder.record)
            raise
        except UserError as error:
            planned.hint = error.hint
            return self._broken(planned, record, folder, "refused", error.problem)
        except SystemExit as end:
            # A method's code must not end the run, least of all with exit code 0.
            reason = f"its code ended the program (exit code {end.code})"
            return self._broken(planned, record, folder, "failed", reason)
        except Exception as error:
            # One method's defect must not take the other cells of a night's run down with it.
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            outcome = self._broken(planned, record, folder, "failed", reason)
            outcome.planned.error = error
            return outcome
        self._finish(cell, folder, record, rows)
        forget_refusals(record, self.results)
        detail = ""
        with clock.of("cost"):
            if self.with_cost:
                detail = self._add_cost(cell, record)
                record.save(folder.record)
        with Appender(folder.timings) as timing_file:
            timing_file.append([clock.around(len(rows) - recovered, staged).to_line()])
        return Outcome(planned, how, record, detail)

    def _append_rows(
        self,
        planned: Planned,
        cell: Cell,
        folder: CellFolder,
        network: Method,
        rows: dict[int, EpisodeRow],
    ) -> float:
        """Computes what is missing; the seconds that the stages of `timings.jsonl` add up to."""
        total = len(cell.episode_set.manifest)
        self._tell(planned, len(rows), total)
        batches = self._evaluated(cell, network, set(rows) - self.extras.missing(cell, rows))
        staged = 0.0
        with Appender(folder.rows) as row_file, Appender(folder.timings) as timing_file:
            for batch, timing in batches:
                staged += (timing.load + timing.encode + timing.adapt + timing.match) / 1000
                lines = [row.to_line() for row in batch]
                row_file.append(lines)
                noted = {**timing.to_json(), "crc32": [checksum(line) for line in lines]}
                timing_file.append([plain_json.dumps(noted, indent=None)])
                rows |= {row.index: row for row in batch}
                self._tell(planned, len(rows), total)
        return staged

    def _ask_again(
        self,
        planned: Planned,
        network: Method,
        folder: CellFolder,
        computed: Sequence[EpisodeRow],
    ) -> None:
        """Asks the last and the first computed episode anew, without what was kept for speed.

        Raises:
            ValueError: if an answer is another one; no row of the cell is kept.
        """
        asked, name = planned.episode_set, planned.composition.label
        settings = replace(self.settings, boundary=None)
        for before in (computed[-1], computed[0]):
            batches = evaluate(
                network, asked.domain, [before.episode], seed=asked.seed, settings=settings
            )
            (again,) = [row for batch, _ in batches for row in batch]
            changed = max(abs(a - b) for a, b in zip(before.counts, again.counts, strict=True))
            if changed > SAME_ANSWER * asked.domain.card.image_size**2:
                folder.write_rows([])  # or the same command would find them complete
                raise ValueError(
                    f"{name}, asked again, answers the query '{before.episode.query}' otherwise "
                    f"({changed} pixels): it keeps something between episodes, changes what it is "
                    "handed, or draws from a generator that all share; "
                    f"cdfss-bench check method '{name}' says which"
                )
            self._tell(planned, len(asked.manifest), len(asked.manifest))  # time goes by episodes

    def _finish(
        self, cell: Cell, folder: CellFolder, record: RunRecord, rows: dict[int, EpisodeRow]
    ) -> None:
        ordered = [rows[index] for index in sorted(rows)]
        # In manifest order whatever was computed first: two undisturbed machines agree byte for
        # byte, and so does a run that was killed.
        record.episodes.rows_sha256 = folder.write_rows(ordered)
        record.metrics = metrics_of(ordered)
        files = self._stores_of(cell).files
        noted = [] if files is None else files.taken_notes()
        record.notes = sorted([*cell_notes(cell, record), *noted])
        record.status, record.finished = "done", now()
        record.save(folder.record)

    def _broken(
        self,
        planned: Planned,
        record: RunRecord,
        folder: CellFolder,
        how: Literal["refused", "failed"],
        reason: str,
    ) -> Outcome:
        record.status, record.reason, record.finished = how, reason, now()
        record.save(folder.record)
        return Outcome(planned, how, record, reason)

    def _network_of(self, cell: Cell) -> Method:
        key = cell.network_key
        if self._network is None or self._network[0] != key:
            network = load_complete(cell.composition, cell.weights, precision=cell.precision)
            cell.refuse_changes()
            self._network = (key, network)
        return self._network[1]

    def _stores_of(self, cell: Cell) -> FeatureStores:
        """Features outlive a cell: other shots and seeds of the same network reuse them."""
        key = (*cell.network_key, cell.episode_set.domain)
        if self._stores is None or self._stores[0] != key:
            self._stores = (key, FeatureStores(self.settings.budget, self._files_of(cell)))
        return self._stores[1]

    def _files_of(self, cell: Cell) -> FeatureFiles | None:
        settings = self.settings
        if settings.feature_cache is None or not cell.composition.host.card.backbones:
            return None
        return FeatureFiles(
            settings.feature_cache,
            cell.encoder,
            half=cell.precision == "fp16-features",
            size=settings.feature_cache_size,
        )

    def _forget_notes(self, domain: Domain) -> None:
        """A record tells what its own episodes met, whatever ran before on the same domain."""
        standing = self._standing_notes.setdefault(domain, dict(domain.notes))
        domain.notes = dict(standing)

    def _tell(self, planned: Planned, done: int, total: int) -> None:
        if self.listener is not None:
            self.listener(Progress(planned, done, total))
