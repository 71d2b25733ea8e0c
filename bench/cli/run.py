"""`cdfss-bench run`: evaluate methods on domains, resuming what was begun."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cautions import warn_of_cells
from .console import show_aside, talk
from .folders import refuse_file
from .interrupts import ending_with
from .option_groups import expand_groups
from .options import (
    AsJson,
    Batch,
    Boundary,
    Device,
    Episodes,
    FeatureCache,
    FeatureCacheSize,
    Jobs,
    Memory,
    Reduced,
    Results,
    Threads,
    Timeout,
    Tolerance,
    Where,
    Wide,
    budget_of,
    chosen_device,
    tolerance_of,
)
from .plan_output import show_plan
from .plan_settings import plan_settings
from .run_progress import extent, run_progress
from .scored_boards import show_records
from .selection_options import SelectionOptions

if TYPE_CHECKING:
    from ..evaluation.evaluator import Settings
    from ..evaluation.runner import Outcome
    from ..evaluation.saved_masks import SavedMasks
    from ..executors.choosing import Choice
    from ..planning.planned_cells import Planned


@expand_groups
def run(
    options: SelectionOptions,
    plan: Annotated[
        Path | None,
        typer.Argument(
            help="Plan file (YAML): these options as keys, such as method, domain and shots.",
            show_default=False,
            is_eager=True,
            callback=plan_settings,
        ),
    ] = None,
    named_plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            help="The same as an option: a plan FILE, or the plan of the mini suite's whole board "
            "by name: leaderboard.",
            is_eager=True,
            callback=plan_settings,
        ),
    ] = None,
    episodes: Episodes = None,
    results: Results = Path("results"),
    device: Device = "auto",
    batch: Batch = 0,
    memory: Memory = None,
    precision: Reduced = None,
    feature_cache: FeatureCache = None,
    feature_cache_size: FeatureCacheSize = 20,
    threads: Threads = None,
    with_controls: Annotated[
        bool,
        typer.Option(
            "--with-controls",
            help="Also run the control rows, and for each method its shuffled-support control.",
        ),
    ] = False,
    jobs: Jobs = None,
    executor: Where = "local",
    timeout: Timeout = None,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the predicted masks are written to, one PNG per episode; `score` "
            "reads it."
        ),
    ] = None,
    boundary: Boundary = False,
    boundary_tolerance: Tolerance = None,
    no_cost: Annotated[
        bool, typer.Option("--no-cost", help="Do not measure FLOPs and latency.")
    ] = False,
    cost_again: Annotated[
        bool,
        typer.Option(
            "--cost-again",
            help="Measure FLOPs and latency also of finished cells that have them, as after a run "
            "on a busy machine. Counts stay as they are.",
        ),
    ] = False,
    with_profile: Annotated[
        bool, typer.Option("--profile", help="Print the time that each stage took.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the cells, what is missing and the expected time; compute nothing.",
        ),
    ] = False,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate methods on domains; the same command resumes an interrupted run.

    Without a data root the generated mini suite is used, which needs no download.

    Exit code 0: every cell is done. 1: a method failed. 2: a cell was refused, and the
    message says how to change that.
    """
    began = time.perf_counter()
    if plan is not None and named_plan is not None:
        from cdfss_bench.errors import UserError

        raise UserError("two plans are named", hint="name one, or run one after the other")
    if no_cost and cost_again:
        from cdfss_bench.errors import UserError

        raise UserError("--no-cost and --cost-again contradict each other", hint="leave one out")
    refuse_file("--save-masks", save_masks)
    selection = options.selection(
        plan or named_plan,
        strict=False,
        episodes=episodes,
        precision=precision,
        controls=with_controls or None,
    )
    if selection.chosen_suite == "mini" and selection.suite == "auto" and not selection.domains:
        talk("no data root is named (--data-root): running the procedural mini suite")
    # A cluster's devices are not this machine's.
    where = device if executor == "ray" else chosen_device(device)
    tolerance = tolerance_of(boundary, boundary_tolerance)
    if dry_run:
        show_plan(
            selection, results, where,
            with_cost=not no_cost, cost_again=cost_again, boundary=tolerance,
            began=began, wide=wide, as_json=as_json,
        )  # fmt: skip
        return
    from ..evaluation.evaluator import Settings
    from ..executors.choosing import Choice
    from ..planning.planned_cells import plan as cells_of
    from ..records.results import note_seals

    choice = Choice(
        executor, jobs, threads, timeout, options.plugins or (), talk, cost_again=cost_again
    )
    budget = budget_of(memory, "cpu" if executor == "ray" else where)
    settings = Settings(
        device=where,
        batch=batch,
        budget=budget,
        boundary=tolerance,
        feature_cache=feature_cache and feature_cache.absolute(),
        feature_cache_size=int(feature_cache_size * 2**30),
    )
    cells = list(cells_of(selection))
    if save_masks is not None:
        choice = replace(choice, save_masks=_mask_folders(save_masks, cells))
    _say_weights(cells)
    warn_of_cells(cells)
    outcomes = compute(cells, results, settings, choice, with_cost=not no_cost)
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    note_seals(results, records)
    show_records(records, results, boundaries=tolerance is not None, wide=wide, as_json=as_json)
    if selection.precision != "fp32":
        from ..evaluation.precision_change import differences

        for line in differences(outcomes, results):
            talk(line)
    if with_profile:
        from ..reporting.timing_table import timing_table

        done = [record for record in records if record.status == "done"]
        show_aside(timing_table(done, results))
    exit_with(outcomes)


def compute(
    cells: Sequence[Planned], results: Path, settings: Settings, choice: Choice, *, with_cost: bool
) -> list[Outcome]:
    """What becomes of planned cells, with words on how far it is."""
    from ..executors.choosing import executor
    from ..planning.dry_run import forecast

    # The devices of a cluster are not here, nor what was measured on them.
    device = None if choice.name == "ray" else settings.device
    expected = forecast(
        cells,
        results,
        device=device,
        with_cost=with_cost,
        cost_again=choice.cost_again,
        boundary=settings.boundary,
    )
    talk(extent(expected, choice.jobs or 1))
    outcomes: list[Outcome] = []
    with (
        run_progress(list(zip(cells, expected, strict=True)), line_of) as (listener, finished),
        ending_with("finished episodes are kept, the same command resumes"),
    ):
        running = executor(choice, results, settings, listener, with_cost=with_cost)
        for outcome in running.run(cells):
            outcomes.append(outcome)
            finished(outcome)
    return outcomes


def _mask_folders(folder: Path, cells: Sequence[Planned]) -> SavedMasks:
    """Where masks are written; every folder is begun, before anything is computed."""
    from ..evaluation.saved_masks import SavedMasks

    found = SavedMasks(folder, one=len(cells) == 1)
    for planned in cells:
        if planned.cell is not None:
            found.begin(planned.cell)
    return found


def _say_weights(cells: Iterable[Planned]) -> None:
    seen: dict[str, None] = {}
    for planned in cells:
        if planned.cell is None:
            continue
        weights = planned.cell.weights
        # A published or converted checkpoint holds its backbone: there is no file under it.
        if (file := weights.checkpoint or weights.pretrained) is not None:
            seen[f"{planned.name}: {weights.backbone}, {weights.description} ({file.name})"] = None
    for line in seen:
        talk(line)


def line_of(outcome: Outcome) -> str:
    """One line that says what became of a cell."""
    name = outcome.planned.title
    if outcome.record is not None and outcome.record.metrics is not None:
        word = {"known": "already complete", "resumed": "resumed and completed"}.get(outcome.how)
        text = f"{name}: mIoU {outcome.record.metrics.miou:.2f}" + (f" ({word})" if word else "")
        return f"{text}\n  warning: {outcome.detail}" if outcome.detail else text
    if outcome.how == "known":
        return f"{name}: warning: {outcome.detail}"
    hint = f"\n  hint: {outcome.planned.hint}" if outcome.planned.hint else ""
    return f"{name}: {outcome.how}: {outcome.detail}{hint}"


def exit_with(outcomes: Sequence[Outcome]) -> None:
    """End with the exit code that `run` documents, unless every cell is done."""
    how = {outcome.how for outcome in outcomes}
    if "failed" in how:
        raise typer.Exit(1)
    if how & {"refused", "busy"}:
        raise typer.Exit(2)
