"""What the children of the fault tests do: the three works that must survive everything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdfss_bench.bench.evaluation.runner import Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.training.conduct import Conduct
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.datasets.prepare.running import prepare as carry_out
from cdfss_bench.errors import UserError

from ..support.trainings import job_of


def evaluate(results: Path, selected: dict[str, Any], outcomes_to: Path | None = None) -> None:
    """`run`, and what became of each cell as JSON."""
    selection = Selection.model_validate(selected)
    try:
        found = [
            (outcome.how, outcome.detail)
            for outcome in Runner(results, with_cost=False).run(list(plan(selection)))
        ]
    except UserError as error:
        found = [("stopped", error.problem)]
    if outcomes_to is not None:
        outcomes_to.write_text(json.dumps(found))


def learn(folder: Path) -> None:
    """`train`, saving its state every step."""
    job, output = job_of(folder, "ssp+lem", episodes=8)
    train(job, output, Conduct(save_every=1))


def prepare(root: Path, places: Sequence[Path]) -> None:
    """`data prepare fss1000`."""
    carry_out("fss1000", root, places, {}, workers=1)
