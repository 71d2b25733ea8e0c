"""`freeze`: trained against frozen shallow stages, as LoEC's table has it.

The trainings are those of `train --plan freeze`, shorter by default; each is asked on every target.
What varies is the training (its seed), so the intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cdfss_bench.methods.registry.build import build
from cdfss_bench.methods.weights.card import read_card
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import Weights
from cdfss_bench.options import Option

from ..training.plan import PLANS
from .causes import Cause, at_once
from .drawing import SOURCE_COLOR, Draw, color_of, marker_of
from .finding import Finding, NotApplicable
from .frames import Frame, frame
from .numbers import Numbers
from .plots import whiskers
from .spread import Range, mean_range, miou_of, range_of
from .subject import Subject
from .trainings import Training, carried_out, positive, trainings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = "mean"

OPTIONS: Mapping[str, Option] = {
    "epochs": Option(default=0.5, min=0, help="Passes over the source; the recipes have 20."),
    "stages": Option(
        default="plan",
        help="What is frozen, joined by slashes (none/1/1-2); plan: as `train --plan freeze`.",
    ),
}

PUBLISHED = frame(
    [
        ["none", 78.86, 39.44, 35.76, 72.49, 56.64],
        ["1", 78.88, 39.90, 37.00, 72.12, 56.98],
        ["1-2", 78.91, 40.00, 35.49, 74.44, 57.21],
    ],
    columns=["frozen", "fss1000", "deepglobe", "isic", "chestxray", MEAN],
)
"""LoEC, ResNet-50, 1-shot mIoU, as a summary of the paper quotes its table; deeper: not there."""


def diagnose(subject: Subject) -> Finding:
    """Trains with more and more stages frozen, and asks the targets.

    Raises:
        NotApplicable: for a method whose recipe trains no stage of its backbone.
        UserError: if the method has nothing to train, or something is missing.
    """
    recipe = subject.composition.host.card.recipe
    if recipe is not None and recipe.freeze == "all":
        raise NotApplicable(
            f"{subject.label} is trained with its whole backbone frozen: no stage is left to freeze"
        )
    numbers = subject.measured(lambda: _measured(subject))
    runs = numbers.tables["runs"]
    changes = compared(runs)
    wide = runs.pivot_table(index="frozen", columns="domain", values="miou", sort=False)
    table = wide.reset_index().rename_axis(columns=None)  # as the papers print it
    figures: dict[str, Draw] = {"freeze": lambda figure: _draw(figure, changes)}
    tables = {"table": table, "changes": changes, "runs": runs, "published": PUBLISHED}
    captions = {
        "freeze": "Change of mIoU against training everything: mean over seeds, 95 % interval "
        "(Student's, paired by seed)."
    }
    sentences = _sentences(runs, changes, subject)
    return Finding("freeze", subject.label, tables, figures, sentences, captions, causes(changes))


def _measured(subject: Subject) -> Numbers:
    stages = str(subject.options["stages"])
    found = trainings(
        subject,
        [subject.selection.methods[0]],
        epochs=positive(subject, "epochs"),
        plan=PLANS / "freeze.yaml",
        freeze=None if stages == "plan" else stages.split("/"),
    )
    rows: list[dict[str, Any]] = []
    for one in carried_out(subject, found):
        network = _network(one).to(subject.device)
        scores = {
            domain.title: miou_of(subject.rows(network, domain, subject.episodes(domain)))
            for domain in subject.targets
        }
        scores[MEAN] = float(np.mean(list(scores.values())))
        where = {"frozen": one.job.recipe.freeze, "seed": one.job.seed}
        rows += [{**where, "domain": title, "miou": miou} for title, miou in scores.items()]
    return Numbers({"runs": frame(rows)})


def _network(one: Training) -> Any:
    path, start = one.files.weights, one.job.weights
    network = build(one.job.composition, backbone=start.backbone)
    weights = Weights(start.backbone, start.pretrained, start.entry, path, read_card(path))
    load_weights(network, weights)
    return network


def compared(runs: Frame) -> Frame:
    """Each freezing against the first one: the mean and its change, paired by seed.

    Args:
        runs: `frozen`, `seed`, `domain`, `miou`; every seed was trained with every freezing.
    """
    rows: list[dict[str, Any]] = []
    base = runs["frozen"].iloc[0]
    for (frozen, domain), part in runs.groupby(["frozen", "domain"], sort=False):
        first = runs[(runs["frozen"] == base) & (runs["domain"] == domain)]
        change = part["miou"].to_numpy() - first["miou"].to_numpy()
        found = mean_range(change) if frozen != base else Range(0.0, 0.0, 0.0)
        row = {"frozen": frozen, "domain": domain, "seeds": len(part)}
        rows.append({**row, "miou": float(part["miou"].mean()), **found.columns("change")})
    return frame(rows)


def causes(changes: Frame) -> tuple[Cause, ...]:
    """Training shallow stages: what the best freezing of all gains in the mean over the targets."""
    base = changes["frozen"].iloc[0]
    mean = changes[(changes["domain"] == MEAN) & (changes["frozen"] != base)]
    best = mean.loc[mean["change"].idxmax()]
    size = at_once(range_of(best, "change"), len(mean))
    where = f"mean of the targets, {_name(str(best['frozen']))}"
    return (Cause("freeze", "shallow stages are trained", size, where=where),)


def _sentences(runs: Frame, changes: Frame, subject: Subject) -> tuple[str, str, str]:
    base = str(runs["frozen"].iloc[0])
    mean = changes[(changes["domain"] == MEAN) & (changes["frozen"] != base)]
    best = mean.loc[mean["change"].idxmax()]
    start = changes[(changes["domain"] == MEAN) & (changes["frozen"] == base)].iloc[0]
    seeds = int(start["seeds"])
    first = (
        f"With {_name(base)} the mean over the targets is {start['miou']:.1f} mIoU; freezing does "
        f"best with {_name(str(best['frozen']))}: {range_of(best, 'change').text('+.1f')} points "
        f"(interval over {seeds} trainings of {float(subject.options['epochs']):g} epochs)."
    )
    each = changes[(changes["domain"] != MEAN) & (changes["frozen"] != base)]
    sure = each[(each["change_low"] > 0) | (each["change_high"] < 0)]
    most = each.loc[each["change"].abs().idxmax()]
    second = (
        f"By domain, {len(sure)} of {len(each)} changes are significant; the largest is "
        f"{range_of(most, 'change').text('+.1f')} on {most['domain']} with "
        f"{_name(str(most['frozen']))}."
    )
    paper = "LoEC reports +0.34 for stage 1 and +0.57 for stages 1 and 2 (mean of four targets)"
    shallow = mean[mean["frozen"].isin(["1", "1-2"])]
    if not len(shallow):
        return first, second, f"{paper}; neither was measured here."
    told = ", ".join(
        f"{range_of(r, 'change').text('+.1f')} for {_name(r['frozen'])}"
        for _, r in shallow.iterrows()
    )
    agrees = sum(bool(r["change_low"] > 0) for _, r in shallow.iterrows())
    against = sum(bool(r["change_high"] < 0) for _, r in shallow.iterrows())
    verdict = f"{agrees} of {len(shallow)} are significant gains, {against} significant losses"
    return first, second, f"{paper}; here it is {told}: {verdict}."


def _name(frozen: str) -> str:
    if frozen == "none":
        return "nothing frozen"
    return f"stage {frozen} frozen" if frozen.isdigit() else f"stages {frozen} frozen"


def _draw(figure: Figure, changes: Frame) -> None:
    frozen = list(dict.fromkeys(changes["frozen"]))
    domains = list(dict.fromkeys(changes["domain"]))
    axis = figure.subplots()
    for at, domain in enumerate(domains):
        part = changes[changes["domain"] == domain].set_index("frozen").loc[frozen]
        is_mean = domain == MEAN
        shift = 0.08 * (at - (len(domains) - 1) / 2)
        whiskers(
            axis,
            [x + shift for x in range(len(frozen))],
            part,
            "change",
            label=domain,
            color="#1b1f24" if is_mean else color_of(at),
            marker="o" if is_mean else marker_of(at + 1),
            linestyle="-" if is_mean else ":",
            linewidth=2 if is_mean else 1.2,
        )
    axis.axhline(0, color=SOURCE_COLOR, linewidth=0.8)
    axis.set_xticks(range(len(frozen)), frozen)
    axis.set_xlabel("stages not trained")
    axis.set_ylabel(f"mIoU minus that with {_name(frozen[0])} (points)")
    figure.legend(loc="outside lower center", ncols=len(domains))
