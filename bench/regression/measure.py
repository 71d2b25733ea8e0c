"""Measures a fixed selection for the gate: scores and costs by the one evaluator, time apart."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cdfss_bench.errors import RecordError, UserError

from ..cost.profile import probe
from ..evaluation.complete_weights import load_complete
from ..evaluation.evaluator import Settings
from ..evaluation.runner import Outcome, Runner
from ..planning.planned_cells import Planned, plan
from ..planning.selection import Selection
from ..records.environment import describe
from .baseline import Baseline, GateCell

_REPEATS = 5
_PLACES = ("data_root", "lists", "weights", "weights_dirs")
"""Where files are, which a baseline does not say: it holds their hashes."""

Listener = Callable[[Outcome], None]


def measured(
    selection: Selection, *, device: str = "cpu", listener: Listener | None = None
) -> Baseline:
    """The selection, run from nothing: no stored result enters.

    Raises:
        UserError: if a cell is refused or fails.
    """
    cells = list(plan(selection))
    found: list[GateCell] = []
    with tempfile.TemporaryDirectory(prefix="cdfss-check-") as folder:
        runner = Runner(Path(folder), Settings(device=device))
        outcomes = list(_listened(runner.run(cells), listener))
    times: dict[tuple[str, str, int, int], float] = {}
    for outcome in outcomes:
        planned = outcome.planned
        size = planned.episode_set.domain.card.image_size
        key = str(planned.composition), planned.backbone, planned.episode_set.shots, size
        if key not in times:
            times[key] = relative_time(planned, device)
        found.append(_cell(outcome, times[key]))
    if not found:
        raise RecordError("the selection holds no cell")
    values = selection.model_dump(mode="json", exclude_defaults=True)
    kept = {k: v for k, v in values.items() if k not in _PLACES}
    # As the cells have them, so that a cell that is taken out of the file is missed.
    named = {"methods": [c.method for c in found], "domains": [c.domain for c in found]}
    opened = {outcome.planned.episode_set.domain for outcome in outcomes}
    return Baseline(
        selection=kept | {key: list(dict.fromkeys(names)) for key, names in named.items()},
        opens={one.title: one.typed for one in opened if one.typed != one.title},
        environment=describe(device),
        cells=found,
    )


def _listened(outcomes: Iterable[Outcome], listener: Listener | None) -> Iterable[Outcome]:
    for outcome in outcomes:
        if outcome.record is None or outcome.record.metrics is None:
            episode_set = outcome.planned.episode_set
            raise RecordError(
                f"{outcome.planned.composition.label} on {episode_set.domain.title} was "
                f"{outcome.how}: {outcome.detail}",
                hint=outcome.planned.hint,
            )
        if listener is not None:
            listener(outcome)
        yield outcome


def relative_time(planned: Planned, device: str) -> float:
    """An episode of the planned method, batch 1 and nothing cached, in reference workloads.

    Method and reference take turns and the fastest of each counts. On a CPU its own time is
    counted and not the wall's: a busy machine interrupts long work and spares short, which made an
    unchanged method look three times slower. Time spent waiting is therefore not seen.
    """
    assert planned.cell is not None
    weights = planned.cell.weights
    network = load_complete(planned.composition, weights).to(device).optimized_for(device)
    size = planned.episode_set.domain.card.image_size
    query, supports, masks = probe(planned.episode_set.shots, size, device)
    reference = _reference(device)
    own, standard = [], []
    with torch.inference_mode():
        for turn in range(_REPEATS + 1):
            spent = _timed(lambda: network.predict(query, supports, masks), device)
            unit = _timed(reference, device)
            if turn:  # the first warms up
                own.append(spent)
                standard.append(unit)
    return round(min(own) / min(standard), 4)


def _reference(device: str) -> Callable[[], Tensor]:
    """Convolutions, a matrix product and element-wise work: some milliseconds on a CPU core."""
    rng = torch.Generator().manual_seed(0)
    image = torch.randn((1, 32, 64, 64), generator=rng).to(device)
    kernel = (torch.randn((32, 32, 3, 3), generator=rng) / 17).to(device)

    def work() -> Tensor:
        maps = image
        for _ in range(6):
            maps = torch.nn.functional.conv2d(maps, kernel, padding=1).relu()
        rows = maps.flatten(2)[0]
        return (rows.T[:1024] @ rows).softmax(1).sum()

    return work


def _timed(work: Callable[[], object], device: str) -> float:
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    began = clock()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return clock() - began


def _cell(outcome: Outcome, relative: float) -> GateCell:
    record = outcome.record
    assert record is not None
    assert record.metrics is not None
    if record.cost is None:
        raise RecordError(f"{outcome.planned.title}: {outcome.detail}")
    return GateCell(
        method=record.method.label,
        composition=record.method.composition,
        backbone=record.method.backbone,
        domain=record.domain.title,
        shots=record.episodes.shots,
        seed=record.episodes.seed,
        protocol=record.episodes.protocol,
        episodes=record.episodes.count,
        episodes_sha256=record.episodes.sha256,
        fingerprint=record.domain.fingerprint,
        weights_sha256=(record.weights.pretrained_sha256, record.weights.checkpoint_sha256),
        evaluator=record.evaluator.version,
        miou=round(record.metrics.miou, 6),
        params=record.cost.params,
        flops=record.cost.flops_episode,
        fft=record.cost.flops_fft,
        time=relative,
    )


def narrowed(baseline: Baseline, methods: Sequence[str], domains: Sequence[str]) -> Baseline:
    """The part of a baseline that some methods and domains are.

    Raises:
        UserError: if it holds none of them.
    """
    cells = [
        cell
        for cell in baseline.cells
        if (not methods or cell.method in methods) and (not domains or cell.domain in domains)
    ]
    known = {cell.method for cell in baseline.cells} | {cell.domain for cell in baseline.cells}
    strange = [name for name in (*methods, *domains) if name not in known]
    if strange or not cells:
        names = ", ".join(f"'{name}'" for name in strange or (*methods, *domains))
        raise UserError(f"the baseline holds no such method or domain: {names}")
    selection = dict(baseline.selection)
    selection["methods"] = list(dict.fromkeys(cell.method for cell in cells))
    selection["domains"] = list(dict.fromkeys(cell.domain for cell in cells))
    return baseline.model_copy(update={"cells": cells, "selection": selection})
