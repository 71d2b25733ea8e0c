"""`cdfss_bench.run`: evaluate methods on domains, and have the numbers as a table."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

import pandas as pd

from cdfss_bench.errors import UserError

from ..evaluation.evaluator import Settings
from ..evaluation.runner import Outcome
from ..executors.choosing import Choice, executor
from ..planning.plan_words import names, numbers
from ..planning.planned_cells import Planned, plan
from ..planning.plugin_folders import add_plugins
from ..planning.selection import Selection
from ..planning.typed import validated_typed
from ..records.results import RunResult
from ..runtime.device import chosen_device
from ..runtime.memory import spare
from .reading import folder_of, table_of
from .wording import in_python_words

_File = str | os.PathLike[str]


@in_python_words()
def run(
    methods: str | Sequence[str],
    domains: str | Sequence[str] = (),
    *,
    shots: int | str | Sequence[int | str] = 1,
    seeds: int | str | Sequence[int | str] = 0,
    episodes: int | None = None,
    protocol: str = "patnet",
    suite: str = "auto",
    data_root: _File | None = None,
    lists: _File | None = None,
    backbone: str | None = None,
    weights: _File | Mapping[str, _File] | None = None,
    weights_dirs: Sequence[_File] = (),
    controls: bool = False,
    precision: str = "fp32",
    boundary: float | None = None,
    results: _File = "results",
    device: str = "auto",
    jobs: int = 1,
    cost: bool = True,
    cost_again: bool = False,
    plugins: Sequence[_File] = (),
    told: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Evaluate methods on domains as `cdfss-bench run` does; finished episodes are not repeated.

    The words are those of the command line and of plan files. Records are written under `results`;
    the same call resumes what was interrupted.

    Args:
        methods: one or several, composed as `HOST+PLUGIN[key=value]`; `"ssp,loec"` is two.
        domains: one or several; by default all targets of the suite.
        shots: support images per episode, one number or several, or a text such as `"1,5"`.
        seeds: of the episodes, one or several, or a range such as `"0..4"`.
        episodes: only so many of each cell, the classes in turn; by default all of the protocol.
        protocol: `patnet` or `strict`.
        suite: `mini`, `cdfss` or `extended`; `auto` is `cdfss` where a data root is set, else
            `mini`.
        data_root: folder that holds the data sets, by default that of `CDFSS_DATA_ROOT`.
        lists: folder of the published lists.
        backbone: by default the first one of each method whose weights are found.
        weights: a trained weights file of the only method, or files by method.
        weights_dirs: folders with weights, searched first.
        controls: whether control rows are added, and the shuffled-support control of each method.
        precision: of the encoder: `fp32`, `bf16` or `fp16-features`.
        boundary: tolerance in pixels of NSD, such as 2, which is then computed too, with HD95 and
            boundary IoU; None for none of them.
        results: folder of the records.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`, which takes a GPU if there is one.
        jobs: processes that compute cells in parallel. With more than one, a script must call
            `run` below `if __name__ == "__main__":`.
        cost: whether FLOPs and latency are measured.
        cost_again: whether also those of cells that have them.
        plugins: folders with further method and domain cards.
        told: is handed one sentence about each cell that is done, such as `print`.

    Returns:
        One line per cell, with the columns of `read_results`.

    Raises:
        UserError: if a name or value is wrong, or torch.autocast is active; before anything is
            computed if weights or data of a cell are missing; and at the end if a cell failed,
            when all others are recorded.

    Example:
        >>> from tempfile import mkdtemp
        >>> from cdfss_bench import run
        >>> cells = run("loec", "mini-lesion", episodes=2, results=mkdtemp(), cost=False)
        >>> cells[["method", "domain", "shots", "episodes"]].values.tolist()
        [['loec', 'mini-lesion', 1, 2]]
    """
    folders = [Path(folder) for folder in _several(plugins)]
    add_plugins(folders)
    chosen_methods = names(_several(methods))
    given: dict[str, Any] = {
        "methods": chosen_methods,
        "domains": names(_several(domains)),
        "shots": _numbers(shots, "shots"),
        "seeds": _numbers(seeds, "seeds"),
        "episodes": episodes,
        "protocol": protocol,
        "suite": suite,
        "data_root": data_root,
        "lists": lists,
        "backbone": backbone,
        "weights": _weights(weights, chosen_methods),
        "weights_dirs": _several(weights_dirs),
        "controls": controls,
        "precision": precision,
    }
    chosen = validated_typed(Selection, given, "the arguments of run", given, spelled=str)
    folder, count = folder_of(results), _processes(jobs)
    _refuse_silent(told)
    _refuse_other_precision()
    where = chosen_device(str(device))
    settings = Settings(device=where, budget=spare(where), boundary=_tolerance(boundary))
    cells = _computable(chosen)
    choice = Choice(jobs=count, plugins=folders, tell=told, cost_again=cost_again)
    outcomes: list[Outcome] = []
    for outcome in executor(choice, folder, settings, None, with_cost=cost).run(cells):
        outcomes.append(outcome)
        if told is not None:
            told(_sentence(outcome))
    _refuse_broken(outcomes)
    done = [RunResult.of(o.record, folder) for o in outcomes if o.record is not None]
    return table_of(done)


def _refuse_other_precision() -> None:
    """Refuses what would compute in other numbers than the records say."""
    import torch

    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise UserError(
            "torch.autocast is active, and the records would say fp32",
            hint="call run outside of it; precision='bf16' encodes in bfloat16 and says so",
        )
    if torch.get_default_dtype() != torch.float32:
        raise UserError(
            f"torch's default dtype is {torch.get_default_dtype()}, and methods are built in it",
            hint="torch.set_default_dtype(torch.float32)",
        )


def _several(value: Any) -> tuple[Any, ...]:
    one = isinstance(value, str) or not isinstance(value, Iterable)
    return (value,) if one else tuple(cast("Iterable[Any]", value))


def _numbers(value: Any, word: str) -> tuple[Any, ...]:
    """The numbers that were given, texts such as `0..4` counted out."""
    found: list[Any] = []
    for one in _several(value):
        found += numbers((one,), word) if isinstance(one, str) else [one]
    return tuple(found)


def _refuse_silent(told: object) -> None:
    if told is not None and not callable(told):
        raise UserError(f"told={told!r} cannot be called", hint="told=print")


def _processes(jobs: Any) -> int:
    if isinstance(jobs, bool) or not isinstance(jobs, Integral):
        raise UserError(f"jobs={jobs!r} is no number of processes", hint="jobs=1")
    count = int(jobs)
    if count < 1:
        raise UserError(f"jobs={count}: at least one process is needed", hint="jobs=1")
    return count


def _tolerance(boundary: Any) -> float | None:
    """As a plain float: rows hold it, and are the same bytes whatever kind of number was given."""
    if boundary is None:
        return None
    is_number = not isinstance(boundary, bool) and isinstance(boundary, Real)
    tolerance = float(boundary) if is_number else math.nan
    if not 0 <= tolerance < math.inf:
        raise UserError(f"boundary={boundary!r} is no number of pixels", hint="boundary=2")
    return tolerance


def _weights(
    given: _File | Mapping[str, _File] | None, methods: Sequence[str]
) -> Mapping[str, _File]:
    if given is None or isinstance(given, Mapping):
        return given or {}
    if len(methods) != 1:
        raise UserError(
            f"weights={os.fspath(given)!r} does not say whose they are",
            hint=f"weights={{{methods[0]!r}: {os.fspath(given)!r}}}" if methods else None,
        )
    return {methods[0]: given}


def _computable(selection: Selection) -> list[Planned]:
    cells = list(plan(selection))
    for planned in cells:
        if planned.cell is None:
            raise UserError(f"{planned.title}: {planned.reason}", hint=planned.hint)
    return cells


def _sentence(outcome: Outcome) -> str:
    record = outcome.record
    if record is None or record.metrics is None:
        return f"{outcome.planned.title}: {outcome.how}: {outcome.detail}"
    return f"{outcome.planned.title}: mIoU {record.metrics.miou:.2f}"


def _refuse_broken(outcomes: Sequence[Outcome]) -> None:
    broken = [o for o in outcomes if o.record is None or o.record.status != "done"]
    if not broken:
        return
    first = broken[0]
    rest = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    raise UserError(f"{_sentence(first)}{rest}", hint=first.planned.hint) from first.planned.error
