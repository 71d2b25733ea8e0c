"""`cka`: how alike source and target are to each stage, before and after training, and with LEM.

Linear CKA of globally averaged stage outputs with the channels as the paired items
(`alignment.py`), against random pairings of the channels as the floor and other images of the
source as the ceiling. The papers that report CKA across domains (LoEC, DFN, SDRC) state neither
pairing nor floor; their figures are similarities, APM's table 7 has a distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from cdfss_bench.errors import WeightsError
from cdfss_bench.methods.core.method import Method
from cdfss_bench.options import Option

from .alignment import Alignment, Floats, alignment, change_error
from .causes import Cause, at_once
from .drawing import SOURCE_COLOR, Draw, color_of, marker_of
from .features import stage_outputs
from .finding import Finding, NotApplicable
from .frames import largest, names_in, row_where, rows_where
from .numbers import Numbers
from .plots import banded, legend_below
from .spread import range_of
from .subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIONS: Mapping[str, Option] = {
    "images": Option(default=60, min=3, help="Images of each domain, twice as many of the source."),
    "permutations": Option(default=200, min=20, help="Random pairings of the channels."),
}

BEFORE = "before training"
UNTRAINED = "as pretrained"
REFERENCE = "source, other images"

_NORMAL = 1.96


def diagnose(subject: Subject) -> Finding:
    """CKA to the source per stage, domain and state of training.

    Raises:
        NotApplicable: for a method without a backbone in stages.
        DataError: if the source or a target is not here.
    """
    _ = subject.backbone
    variants = subject.variants()
    numbers = subject.measured(
        lambda: _measured(subject, variants), methods=list(variants.values())
    )
    table, changes = numbers.tables["stages"], numbers.tables["changes"]
    figures: dict[str, Draw] = {"stages": lambda figure: _draw(figure, table)}
    own = _states(subject, variants)
    known = bool(numbers.arrays["start"][0])
    sentences = _sentences(table, changes, own[subject.selection.methods[0]], known=known)
    found = causes(table, own[subject.selection.methods[0]])
    return Finding("cka", subject.label, numbers.tables, figures, sentences, causes=found)


def _measured(subject: Subject, variants: Mapping[str, str]) -> Numbers:
    states = {state: subject.network(name) for name, state in _states(subject, variants).items()}
    start = _start(subject)
    if start and any(not same_backbone(start, network) for network in states.values()):
        states = {BEFORE: start, **states}
    found: dict[str, dict[tuple[str, str], Alignment]] = {}
    count = int(subject.options["images"])
    for done, (state, network) in enumerate(states.items()):
        found[state] = _aligned(subject, network, count)
        subject.progress(done + 1, len(states))
    rows = [
        _row(state, domain, stage, one, pairs[REFERENCE, stage])
        for state, pairs in found.items()
        for (domain, stage), one in pairs.items()
    ]
    tables = {"stages": pd.DataFrame(rows), "changes": _changes(found)}
    return Numbers(tables, {"start": np.array([start is not None])})


def _states(subject: Subject, variants: Mapping[str, str]) -> dict[str, str]:
    """What to call the weights of each method that is looked at."""
    if subject.weights.checkpoint is None:
        return {subject.selection.methods[0]: UNTRAINED}
    named = {name: f"after training, {word}" for word, name in variants.items()}
    return named or {subject.selection.methods[0]: "after training"}


def _start(subject: Subject) -> Method | None:
    """What training began with; None where the pretrained weights are not here."""
    try:
        return subject.network(trained=False)
    except WeightsError:
        return None


def same_backbone(one: Method, other: Method) -> bool:
    """Whether source training left the backbone as it was (hosts with a frozen one)."""
    others = other.backbone.state_dict()
    return all(torch.equal(v, others[k]) for k, v in one.backbone.state_dict().items())


def _aligned(subject: Subject, network: Method, count: int) -> dict[tuple[str, str], Alignment]:
    """By (domain, stage); the source stands for itself by images that the others do not see."""
    source = _responses(subject, network, subject.images(subject.source, 2 * count))
    if min(maps.shape[1] for maps in source.values()) < 4:
        raise NotApplicable(f"{subject.source_title} has fewer than four images to compare with")
    sets = {REFERENCE: {stage: maps[:, 1::2] for stage, maps in source.items()}}
    for domain in subject.targets:
        sets[domain.title] = _responses(subject, network, subject.images(domain, count))
    permutations = int(subject.options["permutations"])
    return {
        (domain, stage): alignment(source[stage][:, ::2], other, permutations=permutations)
        for domain, responses in sets.items()
        for stage, other in responses.items()
    }


@torch.inference_mode()
def _responses(subject: Subject, network: Method, images: torch.Tensor) -> dict[str, Floats]:
    """Averages over positions, [C, N] per stage."""
    parts: dict[str, list[Floats]] = {}
    for first in range(0, len(images), 8):
        batch = images[first : first + 8].to(subject.device)
        for stage, maps in stage_outputs(network, batch).items():
            parts.setdefault(stage, []).append(maps.mean((2, 3)).double().cpu().numpy().T)
    return {stage: np.concatenate(columns, axis=1) for stage, columns in parts.items()}


def _row(
    state: str, domain: str, stage: str, one: Alignment, reference: Alignment
) -> dict[str, Any]:
    """One line of the table; `gap` is what `beyond` lacks to other images of the source."""
    reach = _NORMAL * one.error
    gap = reference.beyond - one.beyond
    around = _NORMAL * change_error(reference, one, same_second=domain == REFERENCE)
    return {
        "weights": state,
        "domain": domain,
        "stage": stage,
        "images": len(one.second),
        "cka": one.cka,
        "cka_low": max(0.0, one.cka - reach),
        "cka_high": min(1.0, one.cka + reach),
        "chance": one.chance,
        "chance_high": one.chance_high,
        "beyond": one.beyond,
        "gap": gap,
        "gap_low": gap - around,
        "gap_high": gap + around,
    }


def _changes(found: Mapping[str, Mapping[tuple[str, str], Alignment]]) -> pd.DataFrame:
    """What training and LEM change in `beyond`, paired over the images."""
    states = list(found)
    trained = [state for state in states if state != BEFORE]
    pairs = [("training", BEFORE, state) for state in trained if BEFORE in found]
    if len(trained) == 2:
        pairs.append(("LEM", trained[0], trained[1]))
    rows: list[dict[str, Any]] = []
    for what, before, after in pairs:
        for (domain, stage), now in found[after].items():
            then = found[before][domain, stage]
            change = now.beyond - then.beyond
            reach = _NORMAL * change_error(now, then, same_second=True)
            row = {"change": what, "from": before, "to": after, "domain": domain, "stage": stage}
            ends = {"beyond_low": change - reach, "beyond_high": change + reach}
            rows.append({**row, "beyond": change, **ends})
    columns = ["change", "from", "to", "domain", "stage", "beyond", "beyond_low", "beyond_high"]
    return pd.DataFrame(rows, columns=columns)


def _sentences(
    table: pd.DataFrame, changes: pd.DataFrame, own: str, *, known: bool
) -> tuple[str, str, str]:
    """About the method's own weights, what training made of them, and what LEM does."""
    rows = rows_where(table, weights=own)
    targets = rows.loc[rows["domain"] != REFERENCE]
    worst = largest(targets, targets["gap"])
    ceiling = row_where(rows, domain=REFERENCE, stage=worst["stage"])
    verdict = "a significant gap" if worst["gap_low"] > 0 else "a gap that is not significant,"
    first = (
        f"{own[0].upper()}{own[1:]}, {worst['domain']} is least like the source in stage "
        f"{worst['stage']}: linear CKA {worst['cka']:.2f} [{worst['cka_low']:.2f}, "
        f"{worst['cka_high']:.2f}], other source images {ceiling['cka']:.2f}, channels paired at "
        f"random {worst['chance']:.2f}; {verdict} of {worst['gap']:.2f} [{worst['gap_low']:.2f}, "
        f"{worst['gap_high']:.2f}] of the range between chance and identity "
        f"(95 % over {int(worst['images'])} images)."
    )
    return first, _training_sentence(changes, own, known=known), _lem_sentence(table, changes)


def causes(table: pd.DataFrame, own: str) -> tuple[Cause, ...]:
    """The stage and target whose features are least like the source's."""
    rows = rows_where(table, weights=own)
    targets = rows.loc[rows["domain"] != REFERENCE]
    worst = largest(targets, targets["gap"])
    size = at_once(range_of(worst, "gap"), len(targets))
    where = f"stage {worst['stage']} on {worst['domain']}"
    unit = "of the range between chance and identity (CKA)"
    return (Cause("cka", "features are unlike the source's", size, unit, where),)


def _training_sentence(changes: pd.DataFrame, own: str, *, known: bool) -> str:
    if own == UNTRAINED:
        return "Nothing was trained on the source here, so that there is no before and after."
    if not known:
        return "The pretrained weights are not here: what training changed cannot be told."
    if not len(rows_where(changes, change="training")):
        return (
            "The backbone after source training is the pretrained one, unchanged: CKA before and "
            "after training is the same in all stages."
        )
    part = rows_where(changes, change="training", to=own)
    return f"From before to {own}, {_moved(part)}."


def _lem_sentence(table: pd.DataFrame, changes: pd.DataFrame) -> str:
    part = rows_where(changes, change="LEM")
    if not len(part):
        states = ", ".join(names_in(table, "weights"))
        return f"Weights trained with and without LEM are not both here (only: {states})."
    return f"With LEM instead of without it, {_moved(part)}; LoEC reports that LEM raises CKA."


def _moved(part: pd.DataFrame) -> str:
    """How many stages became more or less like the source, and where most."""
    part = part.loc[part["domain"] != REFERENCE]
    kept = [s for s in names_in(part, "stage") if not rows_where(part, stage=s)["beyond"].any()]
    part = part.loc[~part["stage"].isin(kept)]
    unchanged = f" (not counting {', '.join(kept)}, which no training changed)" if kept else ""
    if not len(part):
        return "no stage changes"
    up, down = part[part["beyond_low"] > 0], part[part["beyond_high"] < 0]
    most = largest(part, part["beyond"].abs())
    return (
        f"likeness to the source beyond chance significantly rises in {len(up)} and falls in "
        f"{len(down)} of {len(part)} pairs of target and stage{unchanged}, most in "
        f"{most['stage']} on {most['domain']}: {most['beyond']:+.2f} [{most['beyond_low']:+.2f}, "
        f"{most['beyond_high']:+.2f}]"
    )


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    states, stages = names_in(table, "weights"), names_in(table, "stage")
    domains = names_in(table, "domain")
    figure.set_size_inches(max(5.2, 3.1 * len(states) + 0.6), 3.9)
    line = figure.subplots(1, len(states), sharey=True, squeeze=False)[0]
    for axes, state in zip(line, states, strict=True):
        for at, domain in enumerate(domains):
            part = rows_where(table, weights=state, domain=domain).set_index("stage").loc[stages]
            is_source = domain == REFERENCE
            color = SOURCE_COLOR if is_source else color_of(at - 1)
            places = range(len(stages))
            look = {"marker": marker_of(at - 1), "linestyle": "-"}
            look = {"marker": "_", "linestyle": "--"} if is_source else look
            banded(axes, places, part, "cka", color=color, alpha=0.18, label=domain, **look)
            axes.plot(places, part["chance"].to_numpy(), color=color, linestyle=":", linewidth=1)
        axes.set_title(state)
        axes.set_xticks(range(len(stages)), stages, rotation=30 if len(stages) > 5 else 0)
        axes.set_xlabel("stage, shallow to deep")
    line[0].set_ylabel("linear CKA to the source (dotted: by chance)")
    line[0].set_ylim(0, 1.02)
    legend_below(figure, line[0], min(5, 1 + 2 * len(states)))
