"""`cdfss-bench compare A B`: is one better than the other, on the same episodes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_runs
from .console import left_out, say, show
from .no_records import no_records
from .option_groups import expand_groups
from .options import AsJson, Results, Wide, add_plugins
from .record_filter import LIMITS, RecordOptions, record_filter


@expand_groups
def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="First method, NAME:HASH, or the folder of its run.",
            metavar="A",
            autocompletion=complete_runs,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(help="Second method, likewise.", metavar="B", autocompletion=complete_runs),
    ],
    options: Annotated[RecordOptions, LIMITS],
    results: Results = Path("results"),
    minimum: Annotated[
        float,
        typer.Option(
            "--minimum",
            min=0.0,
            help="Smallest difference, in points of mIoU, that is called better or worse.",
        ),
    ] = 0.5,
    latest: Annotated[
        bool,
        typer.Option(
            "--latest",
            help="Of several versions of a name (other code or weights) compare the one that "
            "finished last.",
        ),
    ] = False,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Compare two methods, paired by query image, from their records alone.

    A name stands for the records that `report` shows; where both were run with several numbers of
    episodes, the largest is compared. NAME:HASH stands for one version of a method, of older code
    too; `runs` lists them. Prints the difference of mIoU with its 95 % interval, the p value of a
    sign-flip permutation test (adjusted for the number of domains by Holm's method), wins, ties
    and losses by episode, and the difference that is detected with a power of 80 %.

    More than two methods are compared by report --conclusions.

    Other options limit the records that are compared; by default all are.
    """
    from cdfss_bench.errors import UserError

    from ..comparison.compare import chosen
    from ..comparison.compare import compare as compared
    from ..records.results import run_results
    from ..reporting.comparison_table import comparison_table

    add_plugins(options.plugins)
    with left_out() as damaged:
        found = run_results(results, damaged.append)
        if not found:
            raise no_records(results)
        selected = record_filter(options, found)
        sides = [chosen(found, name, results, selected, latest=latest) for name in (a, b)]
        if {result.path for result in sides[0]} == {result.path for result in sides[1]}:
            raise UserError(
                f"{a} and {b} are the same records",
                hint="name another method, or versions of one as NAME:HASH, which runs lists",
            )
        comparisons = compared(*sides, minimum=minimum)
        if as_json:
            say(json.dumps([comparison.to_json() for comparison in comparisons], indent=1))
        else:
            show(*map(comparison_table, comparisons), wide=wide)
