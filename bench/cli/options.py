"""The options of the command line that several verbs share; they mean the same in each."""

import math
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..executors import EXECUTORS
from ..planning.plugin_folders import add_plugins as add_plugins
from ..runtime.device import chosen_device as chosen_device
from .completion import complete_backbones, complete_domains, words_of

_select = partial(typer.Option, rich_help_panel="Selection")
_data = partial(typer.Option, rich_help_panel="Data and weights")
_compute = partial(typer.Option, rich_help_panel="Computing")
_MOST = 1 << 20
"""Of GiB and of pixels: more is a mistake, and infinity no number of bytes."""


def _at_most(value: float | None) -> float | None:
    """The value, if it is no more; a range in the option itself would take the help's width."""
    if value is not None and value > _MOST:
        raise typer.BadParameter(f"{value} is not in the range 0<=x<={_MOST}.")
    return value


def _known_executor(name: str) -> str:
    """The name, if it is one: said at once, and not after the weights were looked for."""
    if name not in EXECUTORS:
        from cdfss_bench.errors import unknown

        error = unknown("value", name, EXECUTORS)
        error.reword(f"{error.problem} of --executor", error.hint)
        raise error
    return name


Domains = Annotated[
    list[str] | None,
    _select(
        "--domain",
        "-d",
        metavar="DOMAIN",
        help="Domain, several as A,B. Repeatable; by default all target domains of the suite.",
        envvar="CDFSS_DOMAIN",
        autocompletion=complete_domains,
    ),
]
Episodes = Annotated[
    int | None,
    _select(
        help="Evaluate only this many episodes of each cell, the classes in turn; every table "
        "marks it. "
        "By default all of the protocol.",
        envvar="CDFSS_EPISODES",
        min=1,
    ),
]
DataRoot = Annotated[
    Path | None, _data(help="Folder that holds the data sets.", envvar="CDFSS_DATA_ROOT")
]
Lists = Annotated[
    Path | None,
    _data(help="Folder of the PASCAL fold lists and of ISIC's class table.", envvar="CDFSS_LISTS"),
]
Backbone = Annotated[
    str | None,
    _data(
        help="Backbone. By default the first one of the method whose weights are found.",
        envvar="CDFSS_BACKBONE",
        autocompletion=complete_backbones,
    ),
]
WeightsDirs = Annotated[
    list[Path] | None,
    _data(
        "--weights-dir",
        help="Folder with weights, searched before ./weights (where train writes) and those of "
        "CDFSS_WEIGHTS. Repeatable.",
    ),
]
Plugins = Annotated[
    list[Path] | None,
    _data(
        "--plugin",
        help="Folder with further method and domain cards. Repeatable.",
        envvar="CDFSS_PLUGIN",
    ),
]
Results = Annotated[Path, _data(help="Folder that holds the records.", envvar="CDFSS_RESULTS")]
Device = Annotated[
    str,
    _compute(
        help="Device: cpu, cuda, cuda:1, or auto, which takes a GPU if there is one.",
        envvar="CDFSS_DEVICE",
        autocompletion=words_of("auto", "cpu", "cuda"),
    ),
]
Batch = Annotated[
    int,
    _compute(
        help="Episodes computed together on a GPU; 0 chooses a number that fits.",
        envvar="CDFSS_BATCH",
        min=0,
    ),
]
Memory = Annotated[
    float | None,
    _compute(
        "--memory",
        metavar="GIB",
        help="GiB for features that are kept to be used again. By default 2 on a CPU and half of "
        "the free memory on a GPU. Changes the time, not the results.",
        envvar="CDFSS_MEMORY",
        min=0,
        callback=_at_most,
    ),
]
Reduced = Annotated[
    str | None,
    _compute(
        "--precision",
        help="Precision of the encoder: fp32; bf16; or fp16-features, fp32 whose outputs are "
        "rounded to fp16, which halves a feature cache. The last two also print the change of "
        "mIoU. fp32 by default.",
        envvar="CDFSS_PRECISION",
        autocompletion=words_of("fp32", "bf16", "fp16-features"),
    ),
]
FeatureCache = Annotated[
    Path | None,
    _compute(
        "--feature-cache",
        metavar="DIR",
        help="Folder in which encoder outputs are kept for later runs of the same network. By "
        "default none are. Changes the time, not the results.",
        envvar="CDFSS_FEATURE_CACHE",
    ),
]
FeatureCacheSize = Annotated[
    float,
    _compute(
        "--feature-cache-size",
        metavar="GIB",
        help="GiB that the feature cache may hold; what was used longest ago is deleted.",
        envvar="CDFSS_FEATURE_CACHE_SIZE",
        min=0,
        callback=_at_most,
    ),
]
Threads = Annotated[
    int | None,
    _compute(
        help="Threads for computing. By default torch chooses.", envvar="CDFSS_THREADS", min=1
    ),
]
Jobs = Annotated[
    int | None,
    _compute(
        "--jobs",
        "-j",
        help="Processes that compute cells in parallel; with --executor ray, Ray "
        "workers. 1 by default; with ray one per GPU, or one per processor without GPUs.",
        envvar="CDFSS_JOBS",
        min=1,
    ),
]
Where = Annotated[
    str,
    _compute(
        "--executor",
        help="Where cells are computed: local, or ray (a Ray cluster).",
        envvar="CDFSS_EXECUTOR",
        autocompletion=words_of(*EXECUTORS),
        callback=_known_executor,
    ),
]
Timeout = Annotated[
    float | None,
    _compute(
        help="Seconds that one episode may take; every cell then runs in its own process. "
        "No limit by default.",
        envvar="CDFSS_TIMEOUT",
        min=0.001,
    ),
]
Wide = Annotated[
    bool,
    typer.Option(
        "--wide",
        help="Show all columns at full width. By default tables fit the terminal; into a pipe or "
        "file they are 80 characters wide. COLUMNS sets another width.",
        envvar="CDFSS_WIDE",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Boundary = Annotated[
    bool,
    _compute(
        "--boundary",
        help="Also compute HD95, NSD and boundary IoU of every episode. A finished cell keeps its "
        "counts and gets what is missing.",
    ),
]
Tolerance = Annotated[
    float | None,
    _compute(
        "--boundary-tolerance",
        metavar="PIXELS",
        help="Distance within which NSD counts an outline as found, in pixels of the evaluation "
        "grid; implies --boundary. By default 2.",
        min=0,
        callback=_at_most,
    ),
]


def tolerance_of(boundary: bool, tolerance: float | None) -> float | None:
    """Tolerance of the boundary measures in pixels; None where they are not asked for.

    Raises:
        UserError: for what is no number.
    """
    from cdfss_bench.errors import UserError

    from ..evaluation.boundary import DEFAULT_TOLERANCE

    if tolerance is None:
        return DEFAULT_TOLERANCE if boundary else None
    if math.isnan(tolerance):
        raise UserError("--boundary-tolerance is no number", hint="--boundary-tolerance 2")
    return tolerance


def budget_of(memory: float | None, device: str) -> int:
    """Bytes of so many GiB, or what `device` can spare where nothing was said.

    Raises:
        UserError: for what is no number.
    """
    from cdfss_bench.errors import UserError

    if memory is None:
        from ..runtime.memory import spare

        return spare(device)
    if math.isnan(memory):
        raise UserError("--memory nan is no number of GiB", hint="name one, such as --memory 8")
    return int(memory * 2**30)
